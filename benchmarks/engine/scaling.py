# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Time of a frame against occupancy, and against the size of the map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.engine.benchmark_inputs import CPU, KITTI, pillar_feature_net, random_pillars
from benchmarks.timing import interleaved
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner

PILLARS = 8000
FRACTIONS = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# 50 m to 200 m across.
SIDES = (312, 624, 936, 1250)
_SPARSITIES = ('always', 'auto', 'never')


def measure_scaling(
    network: nn.Module, points: np.ndarray, threads: int, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Times the sparse path, the automatic choice and the dense path.

    Args:
        network: backbone in eval mode.
        points: (N,4) float32 points of one sweep.
        threads: number of threads of the engines.
        rounds: timed runs of each.

    Returns:
        'occupancy': rows with 'fraction' of the KITTI grid's cells, at random positions.
        'range': rows with 'metres', the side of a square map of `PILLARS` random pillars; 'sweep'
        is the sparse path on the 'sweep_pillars' pillars of the sweep there.
    """
    engines = {
        sparsity: BackboneRunner(network, CPU, sparsity=sparsity, threads=threads)
        for sparsity in _SPARSITIES
    }

    def work(shape: tuple[int, int], count: int) -> dict[str, Callable[[], Tensor]]:
        pillars = random_pillars(shape, count, 0)
        return {
            sparsity: partial(engine.from_checked, *pillars, shape)
            for sparsity, engine in engines.items()
        }

    def occupancy(fraction: float) -> dict[str, Any]:
        count = int(fraction * KITTI.shape[0] * KITTI.shape[1])
        return {'fraction': fraction, 'ms': interleaved(work(KITTI.shape, count), rounds)}

    def reach(side: int) -> dict[str, Any]:
        metres, shape = side * KITTI.resolution, (side, side)
        span = (-metres / 2, metres / 2)
        stage = PillarRunner(
            pillar_feature_net(), BevGrid(span, span, KITTI.z_range, KITTI.resolution), CPU
        )
        pillars = stage.pillars(points)
        sweep = {'sweep': partial(engines['always'].from_checked, *pillars, shape)}
        ms = interleaved(work(shape, PILLARS) | sweep, rounds)
        return {'metres': metres, 'sweep_pillars': len(pillars[0]), 'ms': ms}

    return {
        'occupancy': [
            occupancy(fraction) for fraction in tqdm(FRACTIONS, desc='occupancy', disable=None)
        ],
        'range': [reach(side) for side in tqdm(SIDES, desc='range', disable=None)],
    }
