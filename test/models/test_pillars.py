# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sorting of points into pillars, and scattering of pillars into a pseudo-image."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import scatter
from tiny_bev_ros.models.pillars import decorate, pillarize

# Grid of 3 rows along y and 4 columns along x, of 0.5 m.
GRID = BevGrid((0.0, 2.0), (-0.5, 1.0), (-1.0, 3.0), 0.5)
POINTS = torch.tensor(
    [
        [1.9, 0.9, 0.0, 0.1],  # row 2, column 3
        [0.1, -0.4, 0.0, 0.2],  # row 0, column 0
        [5.0, 0.0, 0.0, 0.3],  # outside
        [0.6, 0.1, 0.0, 0.4],  # row 1, column 1
        [0.2, -0.1, 2.0, 0.5],  # row 0, column 0
        [1.6, 0.6, 1.0, 0.6],  # row 2, column 3
        [0.4, -0.3, 1.0, 0.7],  # row 0, column 0
    ]
)


def test_pillarize_sorts_points_by_pillar_and_keeps_their_order():
    pillars = pillarize(POINTS, GRID)
    assert pillars.cells.tolist() == [[0, 0], [1, 1], [2, 3]]
    assert pillars.cells.dtype == torch.int64
    assert pillars.counts.tolist() == [3, 1, 2]
    assert pillars.pillar.tolist() == [0, 0, 0, 1, 2, 2]
    assert torch.equal(pillars.points, POINTS[[1, 4, 6, 3, 0, 5]])


@pytest.mark.parametrize(
    ('point', 'cell'),
    [
        ((0.0, -0.5, -1.0), [0, 0]),  # lower edges are inside
        ((0.5, 0.0, 0.0), [1, 1]),  # an edge belongs to the cell above it
        ((1.999, 0.999, 2.999), [2, 3]),
        ((2.0, 0.0, 0.0), None),  # upper edges are not
        ((0.0, 1.0, 0.0), None),
        ((0.0, 0.0, 3.0), None),
        ((-0.001, 0.0, 0.0), None),
        ((0.0, -0.501, 0.0), None),
        ((0.0, 0.0, -1.001), None),
        ((1e30, 0.0, 0.0), None),
        ((0.0, -3e38, 0.0), None),
    ],
)
def test_which_edges_are_inside(point, cell):
    cells = pillarize(torch.tensor([[*point, 1.0]]), GRID).cells
    assert cells.tolist() == ([cell] if cell else [])


def test_pillarize_of_nothing():
    for points in (torch.zeros(0, 4), torch.full((5, 4), 100.0)):
        pillars = pillarize(points, GRID)
        assert pillars.points.shape == (0, 4)
        assert pillars.cells.shape == (0, 2)
        assert len(pillars.counts) == len(pillars.pillar) == 0


def test_the_first_points_of_the_cloud_are_kept():
    kept = pillarize(POINTS, GRID, 2)
    assert kept.inside == 6
    assert torch.equal(kept.points, POINTS[[1, 4, 3, 0, 5]])
    assert kept.pillar.tolist() == [0, 0, 1, 2, 2]
    assert kept.counts.tolist() == [2, 1, 2]
    assert kept.cells.tolist() == [[0, 0], [1, 1], [2, 3]]


def test_decorations_in_their_order():
    rows = decorate(pillarize(POINTS, GRID), GRID, centre_axes=3)
    # Second of three points at (0.1, -0.4, 0), (0.2, -0.1, 2), (0.4, -0.3, 1), in
    # a cell with its centre at (0.25, -0.25, 1).
    expected = [0.2, -0.1, 2.0, 0.5, -1 / 30, 1 / 6, 1.0, -0.05, 0.15, 1.0]
    torch.testing.assert_close(rows[1], torch.tensor(expected), rtol=0, atol=1e-6)


def test_decorations_without_z_offset():
    pillars = pillarize(POINTS, GRID)
    with_z = decorate(pillars, GRID, centre_axes=3)
    assert torch.equal(decorate(pillars, GRID, centre_axes=2), with_z[:, :9])


@pytest.mark.parametrize('centre_axes', [2, 3])
def test_legacy_offsets_replace_the_coordinates(centre_axes):
    pillars = pillarize(POINTS, GRID)
    plain = decorate(pillars, GRID, centre_axes=centre_axes)
    legacy = decorate(pillars, GRID, centre_axes=centre_axes, legacy_offsets=True)
    assert torch.equal(legacy[:, centre_axes:], plain[:, centre_axes:])
    assert torch.equal(legacy[:, :centre_axes], plain[:, 7:])
    assert not torch.equal(legacy, plain)


def test_scatter_puts_each_pillar_on_its_cell():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    canvas = scatter(features, torch.tensor([[0, 3], [2, 1]]), (3, 4))
    assert canvas.shape == (1, 2, 3, 4)
    assert canvas[0, :, 0, 3].tolist() == [1, 2]
    assert canvas[0, :, 2, 1].tolist() == [3, 4]
    assert canvas.sum() == features.sum()


def test_scatter_of_no_pillars_is_an_empty_map():
    canvas = scatter(torch.zeros(0, 8), torch.zeros(0, 2, dtype=torch.int64), (3, 4))
    assert torch.equal(canvas, torch.zeros(1, 8, 3, 4))


def test_gradients_pass_through_scatter():
    features = torch.ones(2, 3, requires_grad=True)
    canvas = scatter(features, torch.tensor([[0, 0], [1, 2]]), (2, 3))
    (canvas * torch.arange(6.0).view(2, 3)).sum().backward()
    assert features.grad.tolist() == [[0, 0, 0], [5, 5, 5]]
