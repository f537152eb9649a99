# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks on an acted CUDA device: waits, copies and launches after the first call."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from acted_machine import Machine
from fusions import lively_fusion

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.models import (
    CameraEncoder,
    build_backbone,
    list_backbones,
    make_camera,
    seeded,
)
from tiny_bev_ros.models.fusion.futr import MODES

GRID = BevGrid((0, 64), (-32, 32), (-3, 1), 0.5)
# Extrinsics of a camera that looks ahead, and of one that is turned by 45 degrees to the left.
POSES = (
    [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]],
    [[0.5**0.5, -(0.5**0.5), 0, 0], [0, 0, -1, 0], [0.5**0.5, 0.5**0.5, 0, 0], [0, 0, 0, 1]],
)


@pytest.mark.parametrize('name', list_backbones())
def test_a_backbone_neither_waits_nor_copies(acted: Machine, name: str):
    with seeded(0):
        network = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16).eval()
    network, pseudo_image = network.to('cuda'), torch.rand(2, 8, 19, 32).to('cuda')
    with torch.inference_mode():
        network(pseudo_image)
        acted.reset()
        network(pseudo_image)
    assert acted.launches
    assert not acted.wait_lines
    assert not acted.copied


@pytest.mark.parametrize(('mode', 'precision'), list(product(MODES, ('float32', 'float16'))))
def test_the_fusion_neither_waits_nor_copies(acted: Machine, mode: str, precision: str):
    device = torch.device('cuda', 0)
    runner = FusionRunner(lively_fusion(16, 8, mode), device, precision)
    bev, view = torch.rand(1, 16, *GRID.shape).to(device), torch.rand(1, 8, 6, 10).to(device)
    cameras = [make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], each, (10, 6)) for each in POSES]
    views = [*((view, camera) for camera in cameras), None]
    runner(bev, GRID, views)
    acted.reset()
    runner(bev, GRID, views)
    assert runner.cameras_without_cells(GRID, cameras) == ()
    assert not acted.wait_lines
    assert not acted.copied
    # Projected attention has four groups of cells here, with five launches each.
    ceilings = {
        ('projected', 'float32'): 45,
        ('projected', 'float16'): 70,
        ('global', 'float32'): 32,
        ('global', 'float16'): 60,
    }
    assert acted.launches.total() <= ceilings[mode, precision]


def test_a_budget_divides_the_cells_of_a_gpu_and_its_memory_follows(acted: Machine):
    device, fusion = torch.device('cuda', 0), lively_fusion(16, 8)
    bev, view = torch.rand(1, 16, *GRID.shape), torch.rand(1, 8, 6, 10)
    camera = make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], POSES[0], (10, 6))
    runners = [FusionRunner(fusion, device, budget_bytes=size) for size in (2**20, 2**30)]
    fused, launches, peaks = [], [], []
    for runner in runners:
        runner(bev, GRID, [(view, camera)])
        acted.reset()
        before = acted.allocated
        fused.append(runner(bev, GRID, [(view, camera)]).cpu())
        launches.append(acted.launches.total())
        peaks.append(acted.peak - before)
    torch.testing.assert_close(*fused)
    assert launches[1] < 0.7 * launches[0]
    assert peaks[0] < 0.8 * peaks[1]
    for runner, peak in zip(runners, peaks, strict=True):
        assert peak <= runner.needed_bytes(GRID, [camera]) <= 1.6 * peak


def test_an_image_is_copied_once(acted: Machine):
    with seeded(0):
        encoder = CameraEncoder(out_channels=8, stride=8).eval()
    camera = make_camera([20, 0, 19.5, 0, 20, 11.5, 0, 0, 1], POSES[0], (40, 24))
    runner = CameraRunner(encoder, torch.device('cuda', 0), resize_width=32, crop_height=16)
    image = np.zeros((24, 40, 3), np.uint8)
    runner(image, camera)
    acted.reset()
    runner(image, camera)
    assert acted.waits.total() <= 1
    assert acted.copied == {'to device': 32 * 16 * 3}
    assert acted.launches.total() <= 17
