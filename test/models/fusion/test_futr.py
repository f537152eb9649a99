# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fusion: identity without cameras, changes only in visible cells, attention as defined."""

from __future__ import annotations

import math

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import seeded
from tiny_bev_ros.models.camera.geometry import make_camera
from tiny_bev_ros.models.fusion import projected_attention
from tiny_bev_ros.models.fusion.futr import MODES, FuTrFusion

GRID = BevGrid((-12.0, 12.0), (-8.0, 8.0), (-3.0, 2.0), 1.0)
SIZE = (20, 12)
every_mode = pytest.mark.parametrize('mode', MODES)


def camera(yaw=0.0, position=(0.0, 0.0, 0.0)):
    """Camera with a field of view of 90 degrees along a yaw."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = [[sin, -cos, 0], [0, 0, -1], [cos, sin, 0]]
    rows = [[*row, -sum(a * b for a, b in zip(row, position, strict=True))] for row in turn]
    return make_camera([10, 0, 9.5, 0, 10, 5.5, 0, 0, 1], [*rows, [0, 0, 0, 1]], SIZE)


def fusion(mode, **changes):
    with seeded(0):
        return FuTrFusion(16, 8, mode, **changes).eval()


def frames(batch=1, cameras=1):
    made = torch.Generator().manual_seed(1)
    bev = torch.randn(batch, 16, *GRID.shape, generator=made)
    return bev, torch.randn(batch, cameras, 8, SIZE[1], SIZE[0], generator=made)


@every_mode
def test_without_cameras_the_output_equals_the_input(mode):
    bev, features = frames(cameras=2)
    fused = fusion(mode)
    assert torch.equal(fused(bev, GRID, features[:, :0], [[]]), bev)
    assert torch.equal(fused(bev, GRID, features, [[None, None]]), bev)


@every_mode
def test_zero_initialised_the_output_equals_the_input(mode):
    bev, features = frames()
    fused = fusion(mode)
    assert not torch.equal(fused(bev, GRID, features, [[camera()]]), bev)
    fused.zero_init_output()
    assert torch.equal(fused(bev, GRID, features, [[camera()]]), bev)


@every_mode
def test_a_missing_camera_is_as_if_it_were_not_there(mode):
    bev, features = frames(cameras=2)
    features[:, 0] = float('nan')
    fused = fusion(mode)
    torch.testing.assert_close(
        fused(bev, GRID, features, [[None, camera()]]),
        fused(bev, GRID, features[:, 1:], [[camera()]]),
    )


def test_the_sampling_plan_is_computed_once():
    bev, features = frames()
    attention = fusion('projected').attention
    cpu = torch.device('cpu')
    with torch.inference_mode():
        kept = attention.sampling_plan(GRID, [camera(0.3)], cpu)
        assert attention.sampling_plan(GRID, [camera(0.3)], cpu) is kept
    other = attention.sampling_plan(GRID, [camera(0.4)], cpu)
    assert len(other.cell) != len(kept.cell) or not torch.equal(
        other.corner_weights, kept.corner_weights
    )
    assert len(attention.sampling_plan(GRID, [None], cpu).cell) == 0
    # A plan cached in inference mode serves training as well.
    fused = fusion('projected')
    with torch.inference_mode():
        before = fused(bev, GRID, features, [[camera()]])
    after = fused(bev, GRID, features, [[camera()]])
    after.sum().backward()
    torch.testing.assert_close(after.detach(), before.clone())


@every_mode
def test_frames_of_a_batch_have_their_own_cameras(mode):
    bev, features = frames(batch=2)
    ways = [[camera(0.3)], [camera(-2.0)]]
    fused = fusion(mode)
    alone = [fused(bev[i : i + 1], GRID, features[i : i + 1], ways[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(fused(bev, GRID, features, ways), torch.cat(alone))


@every_mode
def test_the_order_of_cameras_does_not_matter(mode):
    bev, features = frames(cameras=2)
    fused, ways = fusion(mode), [camera(0.0), camera(0.6)]
    torch.testing.assert_close(
        fused(bev, GRID, features, [ways]), fused(bev, GRID, features.flip(1), [ways[::-1]])
    )


@every_mode
def test_gradients_reach_every_parameter_and_the_features(mode):
    bev, features = frames(cameras=2)
    features.requires_grad_()
    fused = fusion(mode)
    output = fused(bev, GRID, features, [[camera(), camera(math.pi)]])
    output.square().sum().backward()
    for key, parameter in fused.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key
    assert features.grad.abs().amax(dim=(0, 2, 3, 4)).min() > 0


def test_projected_changes_visible_cells_and_nothing_else():
    bev, features = frames()
    changed = (fusion('projected')(bev, GRID, features, [[camera()]]) != bev).any(dim=1)[0]
    rows, cols = GRID.shape
    for row in range(rows):
        for col in range(cols):
            x, y = float(GRID.x_axis.centre(col)), float(GRID.y_axis.centre(row))
            across = 9.5 - 10 * y / x if x > 0.1 else math.inf
            down = [5.5 - 10 * z / x for z in (-1.5, -0.5, 0.5, 1.5)] if x > 0.1 else []
            inside = -0.5 <= across < 19.5 and any(-0.5 <= each < 11.5 for each in down)
            assert bool(changed[row, col]) == inside, (x, y)


def test_projected_is_attention_over_the_samples():
    fused = fusion('projected')
    bev, features = frames(cameras=2)
    ways = [camera(0.0), camera(0.5, (0.5, 0.2, 0.0))]
    attention, queries = fused.attention, fused.norm(bev[0].flatten(1).T)
    plan = attention.sampling_plan(GRID, ways, bev.device)
    queries = queries[plan.cell]
    found = attention(queries, GRID, features[0], ways)
    weights = attention.weights(queries, GRID, features[0], ways)
    assert set(plan.camera.tolist()) == {0, 1}
    assert len({each for _, each in plan.groups}) > 2
    assert plan.entry_cells().tolist() == sorted(
        plan.entry_cells().tolist(), key=plan.cell.tolist().index
    )
    for index in range(0, len(plan.cell), 17):
        cell = int(plan.cell[index])
        entries = (plan.entry_cells() == cell).nonzero()[:, 0].tolist()
        assert sorted(entries_of(attention, ways, cell)) == sorted(
            (int(plan.camera[entry]), int(plan.height[entry])) for entry in entries
        )
        logits, values = [], []
        for entry in entries:
            way, height = ways[plan.camera[entry]], plan.height[entry]
            pixel, _ = way.project(point_above(cell, attention.heights[height]))
            col, row = pixel.clamp(min=0).tolist()
            sampled = bilinear(features[0, plan.camera[entry]], row, col)
            key = attention.keys(sampled) + attention.height_embedding[height]
            query = attention.queries(queries[index])
            logits.append((query * key).view(4, 4).sum(1) / 2)
            values.append(attention.values(sampled).view(4, 4))
        expected = torch.stack(logits).softmax(0)
        torch.testing.assert_close(weights[entries], expected, atol=1e-5, rtol=1e-4)
        taken = attention.output((expected[..., None] * torch.stack(values)).sum(0).flatten())
        torch.testing.assert_close(found[index], taken, atol=1e-5, rtol=1e-4)


def point_above(cell, height):
    row, col = divmod(cell, GRID.shape[1])
    point = [GRID.x_axis.centre(col), GRID.y_axis.centre(row), height]
    return torch.tensor(point, dtype=torch.float64)


def entries_of(attention, ways, cell):
    """Camera and height of each visible reference point of a cell."""
    for index, way in enumerate(ways):
        for height, metres in enumerate(attention.heights):
            if way.visible(point_above(cell, metres)):
                yield index, height


def test_cells_worked_on_a_few_at_a_time_are_as_all_at_once(monkeypatch):
    bev, features = frames(cameras=2)
    ways = [[camera(0.0), camera(0.5)]]
    expected = fusion('projected')(bev, GRID, features, ways)
    monkeypatch.setattr(projected_attention, 'CPU_CELLS', 3)
    torch.testing.assert_close(fusion('projected')(bev, GRID, features, ways), expected)


def bilinear(values, row, col):
    """(c,) features at a position of (c,rows,cols), clamped to the border pixels."""
    rows, cols = values.shape[1:]
    top, left = min(int(row), rows - 1), min(int(col), cols - 1)
    down, right = row - top if top < rows - 1 else 0, col - left if left < cols - 1 else 0
    below, beside = min(top + 1, rows - 1), min(left + 1, cols - 1)
    upper = (1 - right) * values[:, top, left] + right * values[:, top, beside]
    lower = (1 - right) * values[:, below, left] + right * values[:, below, beside]
    return (1 - down) * upper + down * lower


@every_mode
def test_half_precision_is_near(mode):
    bev, features = frames()
    fused = fusion(mode)
    expected = fused(bev, GRID, features, [[camera()]])
    with torch.autocast('cpu', torch.bfloat16):
        found = fused(bev, GRID, features, [[camera()]])
    assert float(((found - expected).norm() / expected.norm()).detach()) < 0.01


def test_a_camera_far_away_leaves_no_nan():
    bev, features = frames()
    away = camera(0.0, (500.0, 0.0, 0.0))
    assert torch.equal(fusion('projected')(bev, GRID, features, [[away]]), bev)


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        ({'bev': torch.zeros(1, 15, 16, 24)}, r'bev has shape \(1, 15, 16, 24\)'),
        ({'features': torch.zeros(1, 1, 9, 12, 20)}, r'of a camera have shape \(1, 9, 12, 20\)'),
        ({'features': torch.zeros(1, 8, 12, 20)}, r'features have shape \(1, 8, 12, 20\)'),
        ({'features': [torch.zeros(2, 8, 12, 20)]}, r'\(2, 8, 12, 20\); expected \(1, 8, rows'),
        ({'cameras': [[camera(), camera()]]}, r'numbers of cameras are \[2\]; expected 1,'),
        (
            {'features': torch.zeros(1, 1, 8, 6, 10)},
            'camera image is 20 x 12 pixels; expected 10 x 6',
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, error):
    bev, features = frames()
    given = {'bev': bev, 'grid': GRID, 'features': features, 'cameras': [[camera()]]} | change
    with pytest.raises(TinyBevError, match=error):
        fusion('projected')(**given)


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({'mode': 'both'}, "mode is 'both'; expected one of projected, global"),
        ({'heads': 3}, 'channels is 128; expected a multiple of heads, 3'),
        ({'heads': 3, 'mode': 'global'}, 'channels is 128; expected a multiple of heads, 3'),
        ({'heights': ()}, 'heights are empty'),
        ({'camera_channels': 0}, 'camera_channels is 0'),
    ],
)
def test_values_that_are_not_allowed_are_refused(changes, error):
    with pytest.raises(TinyBevError, match=error):
        FuTrFusion(**changes)
