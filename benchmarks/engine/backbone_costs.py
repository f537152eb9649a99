# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Costs of each registered backbone: time with the engine and with PyTorch, peak memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.engine.benchmark_inputs import CPU, KITTI, pillar_feature_net, trained_like
from benchmarks.engine.contenders import multiplications
from benchmarks.peak_memory import peak_mb
from benchmarks.tables import SPREAD, as_table, spread
from benchmarks.timing import interleaved, median
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import build_backbone, list_backbones, scatter, seeded

_IN_CHANNELS = 64


def measure_backbones(points: np.ndarray, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measures each backbone with its default widths on the KITTI grid.

    Args:
        points: (N,4) float32 points of one sweep.
        threads: number of threads of engine and PyTorch.
        rounds: timed runs of each backbone.

    Returns:
        One row per backbone.
    """
    pillars = PillarRunner(pillar_feature_net(), KITTI, CPU).pillars(points)
    dense = scatter(*pillars, KITTI.shape)
    work: dict[str, Callable[[], Any]] = {}
    for name in list_backbones():
        network = _network(name)
        engine = BackboneRunner(network, CPU, threads=threads)
        work[f'{name} engine'] = partial(engine.from_checked, *pillars, KITTI.shape)
        work[f'{name} PyTorch'] = partial(network, dense)
    ms = interleaved(work, rounds)
    return [
        {
            'backbone': name,
            'parameters': sum(value.numel() for value in _network(name).parameters()),
            'multiplications': multiplications(_network(name), KITTI.shape),
            'engine_ms': ms[f'{name} engine'],
            'pytorch_ms': ms[f'{name} PyTorch'],
            'peak_mb': peak_mb(_from_pillars, name, *pillars, threads=threads),
        }
        for name in list_backbones()
    ]


def backbone_table(rows: list[dict[str, Any]]) -> str:
    """Renders the rows as a Markdown table of medians."""
    head = ['backbone', 'parameters', 'multiplications of PyTorch', 'PyTorch, ms', 'engine, ms']
    table = [
        [
            row['backbone'],
            f'{row["parameters"]:,}',
            f'{row["multiplications"] / 1e9:.1f} G',
            f'{median(row["pytorch_ms"]):.1f}',
            *spread(row['engine_ms'], '.1f'),
            f'{row["peak_mb"]:.0f}',
        ]
        for row in rows
    ]
    return as_table([*head, SPREAD, 'peak memory of the engine, MB'], table)


def _network(name: str) -> torch.nn.Module:
    with seeded(0):
        return trained_like(build_backbone(name, in_channels=_IN_CHANNELS))


def _from_pillars(name: str, features: Tensor, cells: Tensor) -> Callable[[], Any]:
    engine = BackboneRunner(_network(name), CPU, threads=torch.get_num_threads())
    return partial(engine.from_checked, features, cells, KITTI.shape)
