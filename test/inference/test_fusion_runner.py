# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fusion runner: missing cameras, shapes, precision, and refusal where memory is short."""

from dataclasses import replace

import pytest
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.models import FuTrFusion, make_camera, seeded
from tiny_bev_ros.nodes.camera_sync import _fused

GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 0.5)
CPU = torch.device('cpu')


def make(mode='projected', **options):
    with seeded(0):
        return FusionRunner(FuTrFusion(32, 16, mode), CPU, **options)


def view(seed=0, size=(20, 6), turned=False):
    # The second camera points to the left.
    mount = (
        [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
        if turned
        else [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    )
    k = [10.0, 0, (size[0] - 1) / 2, 0, 10.0, (size[1] - 1) / 2, 0, 0, 1]
    features = torch.randn(1, 16, size[1], size[0], generator=torch.Generator().manual_seed(seed))
    return features, make_camera(k, mount, size)


def bev():
    return torch.randn(1, 32, *GRID.shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_as_the_network_alone(mode):
    views = [view(1), view(2, turned=True)]
    fused = make(mode)(bev(), GRID, views)
    with seeded(0):
        network = FuTrFusion(32, 16, mode).eval()
    features = torch.stack([features[0] for features, _ in views])[None]
    with torch.inference_mode():
        expected = network(bev(), GRID, features, [[camera for _, camera in views]])
    torch.testing.assert_close(fused, expected)
    assert not torch.equal(fused, bev())


@pytest.mark.parametrize('mode', ['projected', 'global'])
@pytest.mark.parametrize('views', [[], [None], [None, None]])
def test_without_cameras_it_is_the_map(mode, views):
    assert torch.equal(make(mode)(bev(), GRID, views), bev())


@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_a_missing_camera_is_as_none(mode):
    runner = make(mode)
    assert torch.equal(runner(bev(), GRID, [None, view(1)]), runner(bev(), GRID, [view(1)]))


def test_a_camera_that_sees_nothing_of_the_map_is_named():
    back, eye = replace(view(1)[1], extrinsics=torch.eye(4, dtype=torch.float64)), view(1)[1]
    back.extrinsics[2, 3] = -50.0
    runner, views = make(), [view(1), (view(2)[0], back)]
    assert runner.cameras_without_cells(GRID, [eye, back]) == (1,)
    assert (
        runner.cameras_without_cells(GRID, [eye]) == runner.cameras_without_cells(GRID, []) == ()
    )
    assert make('global').cameras_without_cells(GRID, [back]) == ()
    fused, without = _fused(runner, bev(), GRID, views)
    assert torch.equal(fused, runner(bev(), GRID, views[:1]))
    assert [cause for cause, _ in without] == ['', 'not_visible']
    assert 'no cell of the map is in its image; expected' in without[1][1]
    small = FusionRunner(FuTrFusion(32, 16, 'global'), CPU, budget_bytes=1)
    same, without = _fused(small, bev(), GRID, views)
    assert torch.equal(same, bev())
    assert all(cause == 'failed' and 'fusion.mode is global' in why for cause, why in without)


def test_every_precision_is_close():
    exact = make()(bev(), GRID, [view(1)])
    lower = make(precision='bfloat16')(bev(), GRID, [view(1)])
    assert lower.dtype == torch.float32
    assert (lower - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_cameras_of_different_sizes(mode):
    small, large = view(1), view(2, size=(30, 8), turned=True)
    fused = make(mode)(bev(), GRID, [small, large])
    assert torch.allclose(fused, make(mode)(bev(), GRID, [large, small]), atol=1e-5)
    if mode == 'projected':
        # Different cells are visible to them, so that each adds what it adds alone.
        alone = [make(mode)(bev(), GRID, [each]) - bev() for each in (small, large)]
        both = (alone[0] != 0) & (alone[1] != 0)
        assert (alone[0] != 0).any()
        assert (alone[1] != 0).any()
        assert torch.allclose((fused - bev())[~both], (alone[0] + alone[1])[~both], atol=1e-5)


def test_global_refuses_what_does_not_fit():
    views = [view(1)]
    needed = make('global').needed_bytes(GRID, [views[0][1]])
    make('global', budget_bytes=needed)(bev(), GRID, views)
    with pytest.raises(
        NotEnoughMemoryError,
        match=r'mode is global, which takes 1 MiB for 32 x 32 cells and 1 cameras; expected',
    ):
        make('global', budget_bytes=needed - 1)(bev(), GRID, views)


def test_projected_takes_what_it_needs():
    assert make(budget_bytes=1)(bev(), GRID, [view(1)]).shape == bev().shape


@pytest.mark.gpu
@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_on_a_gpu_as_on_the_cpu(mode):
    with seeded(0):
        runner = FusionRunner(FuTrFusion(32, 16, mode), torch.device('cuda'))
    fused = runner(bev(), GRID, [view(1), view(2, turned=True)])
    expected = make(mode)(bev(), GRID, [view(1), view(2, turned=True)])
    torch.testing.assert_close(fused.cpu(), expected, rtol=1e-3, atol=1e-3)
