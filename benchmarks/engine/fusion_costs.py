# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Costs of a camera: times and memory of its encoder and of both fusion modes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.engine.benchmark_inputs import CPU
from benchmarks.peak_memory import peak_mb
from benchmarks.tables import SPREAD, as_table, spread
from benchmarks.timing import interleaved
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.models import Camera, CameraEncoder, FuTrFusion, make_camera, seeded
from tiny_bev_ros.models.fusion.futr import MODES

# KITTI's front camera: 1242 x 375 pixels, about 80 degrees wide; its pose relative to the LiDAR.
_SIZE = (1242, 375)
_K = (721.5, 0.0, 609.6, 0.0, 721.5, 172.9, 0.0, 0.0, 1.0)
_AHEAD = ((0, -1, 0, 0), (0, 0, -1, -0.08), (1, 0, 0, -0.27), (0, 0, 0, 1))
_SIDES = (100, 200)
_CELL = 0.4


def measure_fusion(threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measures times and memory of each stage.

    Args:
        threads: number of threads of PyTorch in the memory measurement.
        rounds: timed runs of each stage.

    Returns:
        One row per stage, with memory as computed and as measured.
    """
    work: dict[str, Callable[[], Any]] = {'encoder': _encoding()}
    for side in _SIDES:
        for mode in MODES:
            work[f'{mode} {side}'] = fusing(mode, side)
    with torch.inference_mode():
        ms = interleaved(work, rounds)
    rows = [
        {
            'stage': 'camera encoder, 1242 x 375 pixels',
            'ms': ms['encoder'],
            'peak_mb': peak_mb(_encoding, threads=threads),
        }
    ]
    for side in _SIDES:
        for mode in MODES:
            stage, _, camera = parts(mode)
            rows.append(
                {
                    'stage': f'{mode} attention, {side} x {side} cells',
                    'ms': ms[f'{mode} {side}'],
                    'computed_mb': stage.needed_bytes(grid(side), [camera]) / 1e6,
                    'peak_mb': peak_mb(fusing, mode, side, threads=threads),
                }
            )
    return rows


def fusion_table(rows: list[dict[str, Any]]) -> str:
    """Renders the rows as a Markdown table of medians."""
    table = [
        [
            row['stage'],
            *spread(row['ms'], '.1f'),
            f'{row["computed_mb"]:.0f}' if 'computed_mb' in row else '',
            f'{row["peak_mb"]:.0f}',
        ]
        for row in rows
    ]
    head = ['stage', 'median ms', SPREAD, 'computed memory, MB']
    return as_table([*head, 'peak memory, MB'], table)


def _camera() -> Camera:
    return make_camera(_K, _AHEAD, _SIZE)


def grid(side: int) -> BevGrid:
    """Builds a grid of side x side cells."""
    half = side * _CELL / 2
    return BevGrid((0, 2 * half), (-half, half), (-3, 1), _CELL)


def _encoding() -> Callable[[], Any]:
    with seeded(0):
        stage = CameraRunner(CameraEncoder(), CPU)
    image = np.random.default_rng(0).integers(0, 256, (*_SIZE[::-1], 3), dtype=np.uint8)
    return partial(stage, image, _camera())


def parts(mode: str) -> tuple[FusionRunner, torch.Tensor, Camera]:
    """Builds a fusion runner with random weights, random image features and their camera."""
    with seeded(0):
        encoder = CameraEncoder()
        stage = FusionRunner(FuTrFusion(128, encoder.channels, mode), CPU)
        camera = _camera().strided(encoder.stride)
        features = torch.rand(1, encoder.channels, *camera.size[::-1])
    return stage, features, camera


def fusing(mode: str, side: int) -> Callable[[], Any]:
    """Returns a function that fuses a map of side x side cells with the features of an image."""
    stage, features, camera = parts(mode)
    with seeded(1):
        bev = torch.rand(1, stage.channels, side, side)
    return partial(stage, bev, grid(side), [(features, camera)])
