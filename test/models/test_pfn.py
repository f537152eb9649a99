# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""PillarFeatureNet against a loop over pillars and against a trained network's outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import PillarFeatureNet, load_pfn, scatter, seeded

KITTI = BevGrid((0.0, 69.12), (-39.68, 39.68), (-3.0, 1.0), 0.16)
SMALL = BevGrid((-4.0, 4.0), (-3.0, 3.0), (-2.0, 2.0), 0.5)


def make(in_channels=10, seed=0, **options):
    """Net in eval mode with a batch norm that changes its input."""
    with seeded(seed):
        net = PillarFeatureNet(in_channels, 16, **options)
        torch.nn.init.normal_(net.norm.running_mean)
        torch.nn.init.uniform_(net.norm.running_var, 0.5, 2.0)
        torch.nn.init.normal_(net.norm.weight)
        torch.nn.init.normal_(net.norm.bias)
    return net.eval()


def cloud(count=500, values=4, seed=0):
    """Points around SMALL, some outside, many pillars with more than one."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4.5, 4.5, (count, values)).astype(np.float32)
    points[: count // 4, :2] *= 0.2
    return torch.from_numpy(points)


def by_loop(net, points, grid):
    """Expected output of the net: one pillar after the other, in float64."""
    points = points.numpy()
    low = np.array([grid.x_range[0], grid.y_range[0]], np.float32)
    index = np.floor((points[:, :2] - low) / np.float32(grid.resolution)).astype(int)
    members = {}
    for number, ((col, row), point) in enumerate(zip(index, points, strict=True)):
        on_map = 0 <= row < grid.shape[0] and 0 <= col < grid.shape[1]
        if on_map and grid.z_range[0] <= point[2] < grid.z_range[1]:
            members.setdefault((row, col), []).append(number)
    weight = net.linear.weight.detach().double().numpy()
    norm = {key: value.double().numpy() for key, value in net.norm.state_dict().items()}
    features = []
    for row, col in sorted(members):
        own = points[members[row, col]].astype(np.float64)[: net.max_points]
        centre = np.array(
            [
                grid.x_range[0] + (col + 0.5) * grid.resolution,
                grid.y_range[0] + (row + 0.5) * grid.resolution,
                sum(grid.z_range) / 2,
            ]
        )
        axes = 2 if net.in_channels == 9 else 3
        to_mean = own[:, :3] - own[:, :3].mean(axis=0)
        to_centre = (own[:, :3] - centre)[:, :axes]
        if net.legacy_offsets:
            own[:, :axes] = to_centre
        rows = np.hstack([own, to_mean, to_centre])
        if net.max_points:
            rows = np.vstack([rows, np.zeros((net.max_points - len(rows), net.in_channels))])
        out = (rows @ weight.T - norm['running_mean']) / np.sqrt(norm['running_var'] + 1e-3)
        out = np.maximum(out * norm['weight'] + norm['bias'], 0)
        features.append(out.max(axis=0))
    return np.array(features), np.array(sorted(members))


def assert_as_loop(net, points, grid, atol=1e-4):
    with torch.inference_mode():
        features, cells = net(points, grid)
    expected, expected_cells = by_loop(net, points, grid)
    np.testing.assert_array_equal(cells.numpy(), expected_cells)
    np.testing.assert_allclose(features.numpy(), expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize('max_points', [None, 1, 3, 32])
@pytest.mark.parametrize('legacy_offsets', [False, True])
@pytest.mark.parametrize('in_channels', [9, 10, 11])
def test_features_are_those_of_a_loop_over_pillars(in_channels, legacy_offsets, max_points):
    net = make(in_channels, max_points=max_points, legacy_offsets=legacy_offsets)
    assert_as_loop(net, cloud(values=net.point_values), SMALL)


@pytest.mark.parametrize('max_points', [None, 32])
def test_a_real_sweep_gives_the_features_of_a_loop(data_dir, max_points):
    points = np.fromfile(data_dir / 'kitti' / 'velodyne' / '000008.bin', np.float32)
    assert_as_loop(make(max_points=max_points), torch.from_numpy(points.reshape(-1, 4)), KITTI)


def trained(data_dir, tmp_path):
    """Trained KITTI net, loaded as a user would, with recorded inputs and outputs."""
    weights = np.load(data_dir / 'weights' / 'lingxe01_kitti_pfn_openpcdet_keys.npz')
    state = {key: torch.from_numpy(weights[key]) for key in weights}
    torch.save({'model_state': state}, tmp_path / 'kitti.pth')
    net = PillarFeatureNet(10, 64, max_points=32)
    load_pfn(net, tmp_path / 'kitti.pth')
    return net.eval(), np.load(data_dir / 'weights' / 'pfn_expected_kitti_000010.npz')


def test_a_trained_net_on_its_own_decorations(data_dir, tmp_path):
    net, truth = trained(data_dir, tmp_path)
    decorated = torch.from_numpy(truth['decorated'])
    pillars, slots, values = decorated.shape
    pillar = torch.arange(pillars).repeat_interleave(slots)
    with torch.inference_mode():
        features = net.encode(decorated.view(-1, values), pillar, pillars)
    np.testing.assert_allclose(features.numpy(), truth['expected'], rtol=0, atol=1e-4)


def test_a_trained_net_on_raw_points(data_dir, tmp_path):
    net, truth = trained(data_dir, tmp_path)
    taken = np.arange(32) < truth['num_points'][:, None]
    points = torch.from_numpy(truth['decorated'][taken][:, :4])
    with torch.inference_mode():
        features, cells = net(points, KITTI)
    order = np.lexsort((truth['coords_xy'][:, 0], truth['coords_xy'][:, 1]))
    np.testing.assert_array_equal(cells.numpy(), truth['coords_xy'][order][:, ::-1])
    np.testing.assert_allclose(features.numpy(), truth['expected'][order], rtol=0, atol=1e-4)


def test_a_trained_net_needs_its_padding(data_dir, tmp_path):
    net, truth = trained(data_dir, tmp_path)
    taken = np.arange(32) < truth['num_points'][:, None]
    net.max_points = None
    with torch.inference_mode():
        features, _ = net(torch.from_numpy(truth['decorated'][taken][:, :4]), KITTI)
    order = np.lexsort((truth['coords_xy'][:, 0], truth['coords_xy'][:, 1]))
    assert np.abs(features.numpy() - truth['expected'][order]).max() > 0.1


@pytest.mark.parametrize('max_points', [None, 3])
def test_pillars_are_sorted_by_row_then_column(max_points):
    _, cells = make(max_points=max_points)(cloud(), SMALL)
    number = cells[:, 0] * SMALL.shape[1] + cells[:, 1]
    assert (number.diff() > 0).all()
    assert cells.dtype == torch.int64


def test_without_a_cap_the_order_of_the_points_does_not_matter():
    net, points = make(), cloud()
    features, cells = net(points, SMALL)
    shuffled = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(2))]
    again, cells_again = net(shuffled, SMALL)
    assert torch.equal(cells, cells_again)
    torch.testing.assert_close(features, again, rtol=1e-5, atol=1e-5)


def test_with_a_cap_the_first_points_of_the_cloud_count():
    net, points = make(max_points=1), cloud()
    features, _ = net(points, SMALL)
    later = torch.cat([points, points[:200] + torch.tensor([0, 0, 0, 5.0])])
    assert torch.equal(features, net(later, SMALL)[0])
    assert not torch.equal(features, net(later.flip(0), SMALL)[0])


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('max_points', [None, 32])
@pytest.mark.parametrize('points', [torch.zeros(0, 4), torch.full((9, 4), 99.0)])
def test_no_point_on_the_grid_gives_no_pillar(points, max_points, training):
    net = make(max_points=max_points).train(training)
    features, cells = net(points, SMALL)
    assert features.shape == (0, 16)
    assert cells.shape == (0, 2)
    assert scatter(features, cells, SMALL.shape).shape == (1, 16, 12, 16)


@pytest.mark.parametrize('legacy_offsets', [False, True])
def test_the_points_are_left_as_they_were(legacy_offsets):
    points = cloud()
    copy = points.clone()
    make(max_points=5, legacy_offsets=legacy_offsets)(points, SMALL)
    assert torch.equal(points, copy)


def padded(net, points, grid):
    """Tensor (P, max_points, in_channels) of all slots."""
    rows, pillars = [], []
    net.encode = lambda rows_, pillar, count: rows.append(rows_) or pillars.append(pillar) or rows_
    net.train()(points, grid)
    del net.encode
    order = pillars[0].argsort(stable=True)
    return rows[0][order].view(-1, net.max_points, net.in_channels)


def test_training_statistics_count_the_padding():
    net = make(max_points=8)
    slots = padded(net, cloud(), SMALL)
    assert (slots == 0).all(dim=2).any()
    values = net.linear(slots).detach().flatten(0, 1)
    mean, var = net.norm.running_mean.clone(), net.norm.running_var.clone()
    net.train()(cloud(), SMALL)
    torch.testing.assert_close(net.norm.running_mean, 0.99 * mean + 0.01 * values.mean(dim=0))
    torch.testing.assert_close(net.norm.running_var, 0.99 * var + 0.01 * values.var(dim=0))


def test_one_row_of_padding_is_enough():
    net = make(max_points=8)
    slots = padded(net, cloud(), SMALL)
    with torch.inference_mode():
        everything = net.eval().norm(net.linear(slots).transpose(1, 2)).relu().amax(dim=2)
        torch.testing.assert_close(net(cloud(), SMALL)[0], everything)


@pytest.mark.parametrize('max_points', [None, 4])
def test_gradients_reach_every_parameter(max_points):
    net = make(max_points=max_points).train()
    features, _ = net(cloud(), SMALL)
    (features * torch.rand(features.shape)).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


def test_names_of_the_weights():
    assert set(PillarFeatureNet().state_dict()) == {
        'linear.weight',
        'norm.weight',
        'norm.bias',
        'norm.running_mean',
        'norm.running_var',
        'norm.num_batches_tracked',
    }


@pytest.mark.parametrize(
    ('in_channels', 'points', 'words'),
    [
        (10, torch.zeros(3, 5), r'shape \(3, 5\); expected \(N, 4\) for a PFN of 10 channels'),
        (9, torch.zeros(3, 5), r'shape \(3, 5\); expected \(N, 4\)'),
        (11, torch.zeros(3, 4), r'shape \(3, 4\); expected \(N, 5\) for a PFN of 11 channels'),
        (10, torch.zeros(4), r'shape \(4,\); expected \(N, 4\)'),
        (10, torch.zeros(3, 4, dtype=torch.float64), 'points are torch.float64; expected torch.f'),
        (10, torch.tensor([[0, 0, 0, torch.nan]]), 'points hold NaN or Inf'),
        (10, torch.tensor([[0, -torch.inf, 0, 0]]), 'points hold NaN or Inf'),
    ],
)
def test_wrong_points_are_refused(in_channels, points, words):
    with pytest.raises(TinyBevError, match=words):
        make(in_channels)(points, SMALL)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'in_channels': 8}, 'PFN in_channels is 8; expected 9, 10 or 11'),
        ({'in_channels': '10'}, "PFN in_channels is '10'"),
        ({'out_channels': 0}, 'PFN out_channels is 0; expected a whole number above 0'),
        ({'max_points': 0}, 'PFN max_points is 0; expected a whole number above 0'),
        ({'max_points': 32.0}, r'PFN max_points is 32\.0'),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(TinyBevError, match=words):
        PillarFeatureNet(**arguments)


@pytest.mark.gpu
@pytest.mark.parametrize('max_points', [None, 3])
def test_cuda_agrees_with_the_cpu(max_points):
    net = make(max_points=max_points)
    with torch.inference_mode():
        expected, cells = net(cloud(20_000), SMALL)
        found, cells_found = net.cuda()(cloud(20_000).cuda(), SMALL)
    assert torch.equal(cells_found.cpu(), cells)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
