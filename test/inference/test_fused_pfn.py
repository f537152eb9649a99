# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The fused pillar feature net computes the result of the network itself."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.fused_pfn import FusedPfn
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import PillarFeatureNet, seeded

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
KITTI = BevGrid((0, 69.12), (-39.68, 39.68), (-3, 1), 0.16)


def net(seed: int = 0, **options: object) -> PillarFeatureNet:
    with seeded(seed), torch.no_grad():
        pfn = PillarFeatureNet(**options)  # type: ignore[arg-type]
        pfn.norm.running_mean.normal_()
        pfn.norm.running_var.uniform_(0.5, 2)
        pfn.norm.weight.normal_(1)  # some below 0: the maximum then takes the other end
        pfn.norm.bias.normal_()
    return pfn.eval()


def cloud(count: int, values: int, seed: int = 0) -> np.ndarray:
    """Draws a cloud, parts of which are outside of the grid on every side."""
    random = np.random.default_rng(seed)
    low, high = [-1, -5, -4, 0, 0], [9, 5, 2, 1, 0.5]
    return random.uniform(low[:values], high[:values], (count, values)).astype(np.float32)


def check(pfn: PillarFeatureNet, points: np.ndarray, grid: BevGrid) -> None:
    with torch.no_grad():
        features, cells = pfn(torch.from_numpy(points), grid)
    got = FusedPfn(pfn, grid)(points)
    assert got[0].dtype == torch.float32 and torch.equal(got[1], cells)
    scale = float(features.abs().max()) if len(features) else 1.0
    torch.testing.assert_close(got[0], features, rtol=0, atol=1e-5 * scale)


@given(
    in_channels=st.sampled_from([9, 10, 11]),
    out_channels=st.sampled_from([1, 7, 16, 64]),
    max_points=st.sampled_from([None, 1, 3, 32]),
    legacy_offsets=st.booleans(),
    count=st.sampled_from([0, 1, 50, 3000]),
    seed=st.integers(0, 100),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_net_and_cloud(
    in_channels: int,
    out_channels: int,
    max_points: int | None,
    legacy_offsets: bool,
    count: int,
    seed: int,
):
    pfn = net(
        seed,
        in_channels=in_channels,
        out_channels=out_channels,
        max_points=max_points,
        legacy_offsets=legacy_offsets,
    )
    check(pfn, cloud(count, pfn.point_values, seed), GRID)


@pytest.mark.parametrize('max_points', [None, 32])
def test_real_sweeps(data_dir: Path, max_points: int | None):
    for path in sorted((data_dir / 'kitti/velodyne').glob('*.bin'))[:3]:
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        check(net(max_points=max_points), points, KITTI)


def test_points_on_the_edges_of_cells():
    steps = np.arange(-1, 18, dtype=np.float32) / 2
    points = np.stack(np.meshgrid(steps, steps - 4, [-3.0, 0.0, 1.0], [0.5]), -1)
    check(net(), points.reshape(-1, 4).astype(np.float32), GRID)


def test_one_frame_leaves_nothing_for_the_next():
    pfn = net()
    one_pass = FusedPfn(pfn, GRID)
    first = [part.clone() for part in one_pass(cloud(500, 4, 1))]
    one_pass(cloud(2000, 4, 2))
    assert all(map(torch.equal, one_pass(cloud(500, 4, 1)), first))


def test_the_stage_follows_the_weights():
    pfn = net()
    runner = PillarRunner(pfn, GRID, torch.device('cpu'))
    before = runner.pillars(cloud(300, 4))[0].clone()
    with torch.no_grad():
        pfn.linear.weight.mul_(2)
        wanted = pfn(torch.from_numpy(cloud(300, 4)), GRID)[0]
    after = runner.pillars(cloud(300, 4))[0]
    torch.testing.assert_close(after, wanted, rtol=0, atol=1e-4)
    assert not torch.allclose(before, after)


def test_without_numba_the_net_itself_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        'tiny_bev_ros.inference.pillar_runner.numba_unavailable_reason', lambda: 'it is missing'
    )
    runner = PillarRunner(net(), GRID, torch.device('cpu'))
    monkeypatch.setattr(FusedPfn, '__init__', lambda *_: pytest.fail('numba was used'))
    with torch.no_grad():
        wanted = runner.pfn(torch.from_numpy(cloud(300, 4)), GRID)[0]
    assert torch.equal(runner.pillars(cloud(300, 4))[0], wanted)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_the_stage_refuses_what_is_not_finite(value: float):
    points = cloud(20, 4)
    points[3, 3] = value
    with pytest.raises(TinyBevError, match='NaN or Inf'):
        PillarRunner(net(), GRID, torch.device('cpu')).pillars(points)


def test_a_cloud_that_fails_half_way_leaves_no_trace(monkeypatch):
    """Its counts would put pillars of the next cloud beyond their arrays."""
    pfn, points = net(), cloud(400, 4)
    runner = PillarRunner(pfn, GRID, torch.device('cpu'))
    wanted = [each.clone() for each in runner.pillars(points)]

    def fail(*_):
        raise MemoryError('none left')

    with monkeypatch.context() as patch:
        patch.setattr('tiny_bev_ros.inference.kernels.pillar_kernels.sort_points', fail)
        with pytest.raises(TinyBevError, match='not enough memory for 400 points'):
            runner.pillars(points)
    for got, each in zip(runner.pillars(points), wanted, strict=True):
        assert torch.equal(got, each)
