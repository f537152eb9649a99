# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import PillarFeatureNet, scatter

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]


def points() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform([0, -4, -3, 0], [8, 4, 1, 1], (300, 4)).astype(np.float32)


@pytest.mark.parametrize('device', DEVICES)
def test_the_stage_gives_what_the_modules_give(device: str):
    pfn = PillarFeatureNet(out_channels=8).eval()
    with torch.no_grad():
        features, cells = pfn(torch.from_numpy(points()), GRID)
    runner = PillarRunner(pfn, GRID, torch.device(device))
    pillars = runner.pillars(points())
    canvas = runner.scatter(pillars)
    assert canvas.device.type == device
    # On CUDA the sums over the points of a pillar have no fixed order.
    tolerance = {} if device == 'cpu' else {'rtol': 1e-4, 'atol': 1e-4}
    torch.testing.assert_close(pillars[0].cpu(), features, **tolerance)
    assert torch.equal(pillars[1].cpu(), cells)
    torch.testing.assert_close(canvas.cpu(), scatter(features, cells, GRID.shape), **tolerance)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('compiled', [True, False])
@pytest.mark.parametrize('max_points', [None, 1])
def test_points_in_the_grid_are_counted(monkeypatch, device, compiled, max_points):
    if not compiled:
        monkeypatch.setattr(
            'tiny_bev_ros.inference.pillar_runner.numba_unavailable_reason',
            lambda: 'not wanted here',
        )
    runner = PillarRunner(PillarFeatureNet(max_points=max_points), GRID, torch.device(device))
    cloud = points()
    cloud[:30, 0] += 8
    cloud[30:50, 2] += 4
    for given, inside in ((cloud, 250), (cloud[:50], 0), (cloud[:0], 0), (cloud, 250)):
        runner.pillars(given)
        assert runner.points_inside == inside


def test_the_stage_leaves_train_mode():
    pfn = PillarFeatureNet()
    PillarRunner(pfn, GRID, torch.device('cpu'))
    assert not pfn.training


@pytest.mark.filterwarnings('error')
def test_a_read_only_view_of_a_message_is_taken_without_a_warning():
    cloud = points()
    cloud.flags.writeable = False
    runner = PillarRunner(PillarFeatureNet(), GRID, torch.device('cpu'))
    features, cells = runner.pillars(cloud)
    assert len(features) == len(cells) > 0


@pytest.mark.parametrize('wrong', [points().astype(np.float64), points().tolist(), points()[:, 0]])
def test_what_are_no_points_is_refused_in_one_line(wrong: object):
    runner = PillarRunner(PillarFeatureNet(), GRID, torch.device('cpu'))
    with pytest.raises(TinyBevError, match=r'^points .*; expected') as refusal:
        runner.pillars(wrong)
    assert '\n' not in str(refusal.value)


def test_points_that_lie_backwards_in_memory_are_taken():
    runner = PillarRunner(PillarFeatureNet().eval(), GRID, torch.device('cpu'))
    features, cells = runner.pillars(points())
    got = runner.pillars(points()[::-1])
    torch.testing.assert_close(got[0], features)
    assert torch.equal(got[1], cells)
