# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BevDetector: one network with cameras or without."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import CameraEncoder, FuTrFusion, make_camera, seeded
from tiny_bev_ros.models.bev_detector import build_detector

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
AHEAD = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
CAMERA = make_camera([20, 0, 15.5, 0, 20, 7.5, 0, 0, 1], AHEAD, (32, 16))
IMAGES = torch.rand(1, 1, 3, 16, 32, generator=torch.Generator().manual_seed(0))
POINTS = [torch.tensor([[2.0, 0.5, -1.0, 0.0], [5.0, -2.0, -0.5, 0.0]])]


def detector(cameras):
    with seeded(0):
        made = build_detector('tiny', mid_channels=8, out_channels=8)
        if cameras:
            made.add_cameras(CameraEncoder('tiny', 8, 4), FuTrFusion(8, 8))
    return made.eval()


def test_the_parts_name_the_parameters():
    for cameras, names in (
        (False, ['pfn', 'backbone', 'heads']),
        (True, ['pfn', 'backbone', 'heads', 'camera_encoder', 'fusion']),
    ):
        keys = detector(cameras).state_dict()
        assert list(dict.fromkeys(key.partition('.')[0] for key in keys)) == names


@torch.inference_mode()
def test_images_change_the_maps_and_missing_cameras_do_not():
    plain, fused = detector(cameras=False), detector(cameras=True)
    expected = plain(POINTS, [GRID])['drivable']
    assert torch.equal(fused(POINTS, [GRID])['drivable'], expected)
    torch.testing.assert_close(fused(POINTS, [GRID], IMAGES, [[None]])['drivable'], expected)
    changed = fused(POINTS, [GRID], IMAGES, [[CAMERA]])['drivable']
    assert (changed - expected).abs().max() > 1e-3


def test_images_without_networks_for_them_are_refused():
    with pytest.raises(TinyBevError, match='no camera encoder and fusion; expected add_cameras'):
        detector(cameras=False)(POINTS, [GRID], IMAGES, [[CAMERA]])
