# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks of a bundle for Autoware: the conventions of the node, folded into weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.autoware_emulation import AutowareGrid, make_pillars
from tiny_bev_ros.export.autoware_networks import BackboneNeckHead, autoware_networks
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import seeded
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.heads.detection_head import DetectionHead

HEIGHT = 1.5


@pytest.fixture
def network() -> BevDetector:
    with seeded(3):
        network = build_detector('tiny', mid_channels=8, out_channels=8).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2.0)
        nn.init.normal_(network.heads['detection'].maps.bias, std=0.5)
        network.heads['detection'].calibration.scale[:] = torch.tensor([2.0, 3.0, 0.5])
        network.heads['detection'].calibration.bias[:] = torch.tensor([1.0, -1.0, 0.2])
    return network


@torch.no_grad()
def test_encoder_takes_padded_pillars_from_the_ground(network: BevDetector):
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (60, 3)).astype(np.float32)
    grid = BevGrid((-3.2, 3.2), (-3.2, 3.2), (-3.0, 2.0), 0.4)
    low = np.array([-3.2, -3.2, -3.0 + HEIGHT], np.float32)
    high = np.array([3.2, 3.2, 2.0 + HEIGHT], np.float32)
    voxel = np.array([0.4, 0.4, 5.0], np.float32)
    base = points + np.array([0, 0, HEIGHT], np.float32)
    pillars = make_pillars(base, AutowareGrid(low, high, voxel, 100, 2))
    encoder, _ = autoware_networks(network, HEIGHT)
    found = encoder(torch.from_numpy(pillars.features))[:, 0]
    cloud = torch.from_numpy(np.pad(points, [(0, 0), (0, 1)]))
    wanted, cells = network.pfn(cloud, grid)
    flat = (cells[:, 0] * grid.shape[1] + cells[:, 1]).numpy()
    order = np.argsort(pillars.cells)
    assert np.array_equal(pillars.cells[order], flat)
    assert torch.allclose(found[order], wanted, atol=1e-5)
    assert wanted.max() > 0.1


@torch.no_grad()
def test_head_has_the_maps_of_centerpoint(network: BevDetector):
    head = network.heads['detection']
    canvas = torch.randn(1, 32, 24, 16)
    _, ours = autoware_networks(network, HEIGHT)
    heatmap, reg, height, dim, rot, vel = ours(canvas)
    maps = head(network.backbone(canvas))
    scores = head.calibration(maps.heatmap.flatten(2)).view_as(heatmap)
    assert torch.allclose(heatmap.sigmoid(), scores, atol=1e-5)
    assert torch.allclose(reg, maps.offset + 0.5, atol=1e-5)
    assert torch.allclose(height, maps.z + HEIGHT, atol=1e-5)
    assert torch.allclose(dim, maps.log_size[:, [1, 0, 2]], atol=1e-5)
    assert vel.shape == reg.shape
    assert not vel.any()
    yaw = torch.atan2(*maps.axis.unbind(1)) / 2
    yaw = yaw + torch.pi * (maps.heading_sign[:, 0] < 0)
    found = -torch.atan2(*rot.unbind(1)) - torch.pi / 2
    # Headings flip by rounding where the sign is undecided.
    decided = maps.heading_sign[:, 0].abs() > 1e-4
    assert torch.cos(found - yaw)[decided].min() > 1 - 1e-5
    assert decided.float().mean() > 0.9
    assert torch.allclose(rot.square().sum(1), torch.ones_like(yaw), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('degrees', [-179.0, -90.01, -89.99, -45, 0, 0.01, 89.99, 90.01, 135, 180])
def test_any_heading_is_exact(degrees: float):
    yaw = torch.tensor(degrees).deg2rad().double()
    head = DetectionHead(2, 2).eval()
    network = BackboneNeckHead(nn.Identity(), head, 0.0).double()
    network.shared = nn.Identity()
    axis = 3 * torch.stack([torch.sin(2 * yaw), torch.cos(2 * yaw)])
    nn.init.zeros_(network.maps.weight)
    network.maps.bias[9:11], network.maps.bias[11] = axis, torch.cos(yaw)
    rot = network(torch.zeros(1, 2, 1, 1, dtype=torch.float64))[4][0, :, 0, 0]
    found = -torch.atan2(rot[0], rot[1]) - torch.pi / 2
    assert torch.cos(found - yaw) > 1 - 1e-6


def test_wrong_networks_are_refused(network: BevDetector):
    network.pfn.linear.weight.data[0, 3] = 0.25
    with pytest.raises(TinyBevError, match=r'intensity are up to 0\.25; expected 0'):
        autoware_networks(network, HEIGHT)
    with pytest.raises(TinyBevError, match='pseudo-image has 16 channels; expected 32'):
        autoware_networks(build_detector('tiny', pfn_channels=16), HEIGHT)
    with pytest.raises(TinyBevError, match='heads of the weights are drivable; expected'):
        autoware_networks(build_detector('tiny', heads=('drivable',)), HEIGHT)
