# SPDX-License-Identifier: Apache-2.0
"""What a frame costs against occupancy, and against the size of the map."""

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
    """Times of the sparse path, of auto and of the dense path.

    Args:
        network: the backbone, in eval mode.
        points: (N,4) float32 of one sweep.
        threads: of the engines.
        rounds: runs of each.

    Returns:
        'occupancy': rows with 'share' of cells at random places of the KITTI grid.
        'range': rows with 'metres' of a square's side, with `PILLARS` at random places, and as
        'sweep' the sparse path on what the sweep has there, 'sweep_pillars' of them.
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

    def occupancy(share: float) -> dict[str, Any]:
        count = int(share * KITTI.shape[0] * KITTI.shape[1])
        return {'fraction': share, 'ms': interleaved(work(KITTI.shape, count), rounds)}

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
            occupancy(share) for share in tqdm(FRACTIONS, desc='occupancy', disable=None)
        ],
        'range': [reach(side) for side in tqdm(SIDES, desc='range', disable=None)],
    }
