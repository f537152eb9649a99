# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Deformable attention: its samples, their offsets, and positions out of reach."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import grid_sample

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import seeded
from tiny_bev_ros.models.backbones.deformable_attention import DeformableAttention


def attention(channels=4, heads=2, levels=1, points=1):
    """Attention that returns its samples."""
    with seeded(0):
        made = DeformableAttention(channels, heads, levels, points)
    with torch.no_grad():
        for layer in (made.values, made.output):
            layer.weight.copy_(torch.eye(channels))
            layer.bias.zero_()
        for layer in (made.offsets, made.weights):
            layer.weight.zero_()
            layer.bias.zero_()
    return made


def test_without_offsets_a_query_samples_its_own_cell():
    values = torch.randn(1, 4, 3, 5)
    places = torch.tensor([[[(2 + 0.5) / 5, (1 + 0.5) / 3], [0.5 / 5, 0.5 / 3]]])
    found = attention()(torch.randn(1, 2, 4), places, [values])
    torch.testing.assert_close(found[0, 0], values[0, :, 1, 2])
    torch.testing.assert_close(found[0, 1], values[0, :, 0, 0])


def test_an_offset_is_in_cells_of_its_map_and_x_comes_first():
    made = attention(levels=2)
    with torch.no_grad():
        made.offsets.bias.view(2, 2, 1, 2)[:, :, 0] = torch.tensor([1.0, 0.0])
        # Puts all weight on the second map.
        made.weights.bias.view(2, 2)[:] = torch.tensor([-100.0, 100.0])
    fine, coarse = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)
    places = torch.tensor([[[(1 + 0.5) / 4, (2 + 0.5) / 4]]])
    found = made(torch.zeros(1, 1, 4), places, [fine, coarse])
    torch.testing.assert_close(found[0, 0], coarse[0, :, 2, 2])


def test_outside_the_map_is_nothing():
    made = attention()
    with torch.no_grad():
        made.offsets.bias.fill_(10.0)
    found = made(torch.zeros(1, 1, 4), torch.full((1, 1, 2), 0.5), [torch.ones(1, 4, 4, 4)])
    assert (found == 0).all()


def test_heads_and_points_are_weighted_as_defined():
    with seeded(1):
        made = DeformableAttention(6, heads=3, levels=2, points=2).double()
        queries, places = torch.randn(2, 5, 6).double(), torch.rand(2, 5, 2).double()
        maps = [torch.randn(2, 6, 7, 4).double(), torch.randn(2, 6, 3, 2).double()]
    found = made(queries, places, maps)
    for batch in range(2):
        for number in range(5):
            query = queries[batch, number]
            offsets = made.offsets(query).view(3, 2, 2, 2)
            weights = made.weights(query).view(3, 4).softmax(1).view(3, 2, 2)
            parts = []
            for head in range(3):
                part = torch.zeros(2).double()
                for level, each in enumerate(maps):
                    rows, cols = each.shape[2:]
                    values = made.values(each[batch].permute(1, 2, 0))[
                        ..., 2 * head : 2 * head + 2
                    ]
                    for point in range(2):
                        at = places[batch, number] + offsets[head, level, point] / torch.tensor(
                            [cols, rows]
                        )
                        sampled = grid_sample(
                            values.permute(2, 0, 1)[None],
                            (2 * at - 1).view(1, 1, 1, 2),
                            align_corners=False,
                        )
                        part = part + weights[head, level, point] * sampled[0, :, 0, 0]
                parts.append(part)
            torch.testing.assert_close(found[batch, number], made.output(torch.cat(parts)))


def test_heads_start_in_different_directions():
    ways = DeformableAttention(8, heads=4, levels=1, points=2).offsets.bias.view(4, 2, 2)
    assert len({tuple(way.round().tolist()) for way in ways[:, 0]}) == 4
    torch.testing.assert_close(ways[:, 1], 2 * ways[:, 0])


def test_channels_must_be_shared_evenly():
    with pytest.raises(TinyBevError, match='channels is 6; expected a multiple of heads, 4'):
        DeformableAttention(6, heads=4, levels=1, points=1)
