# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Registry of heads: a head of a single module runs through training and inference."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.models import list_heads, load_heads, seeded
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.heads import head_registry
from tiny_bev_ros.models.heads.head_registry import (
    FrameLabels,
    Head,
    build_heads,
    compute_losses,
    compute_targets,
    head_class,
    map_tensors,
    register_head,
    stack_targets,
)

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
FINE = GRID.strided(2)
LABELS = FrameLabels(
    points=np.array([[1.2, -3.1, 0.5, 0], [1.3, -3.2, 0.8, 0], [6.0, 2.5, -1.5, 0]], np.float32),
    ground=np.array([False, False, True]),
    boxes=np.array([[4.1, 0.3, -0.5, 4.0, 1.8, 1.5, 0.2]], np.float32),
    labels=np.array([0]),
    ignored=np.array([False]),
    is_drivable=lambda x, y: x > 4,
)


class HeightTargets(NamedTuple):
    height: Tensor
    known: Tensor


class HeightHead(Head):
    """Largest height of each cell in metres."""

    output_type = Tensor

    def __init__(self, in_channels: int = 64) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.height = nn.Conv2d(in_channels, 1, 1)

    def forward(self, features):
        return self.height(features).float()

    @staticmethod
    def targets(labels, grid):
        height = torch.full(grid.shape, -10.0)
        for x, y, z, _ in labels.points.tolist():
            row, col = int(grid.y_axis.index(y)), int(grid.x_axis.index(x))
            height[row, col] = max(float(height[row, col]), z)
        return HeightTargets(height, (height > -10).float())

    @staticmethod
    def loss(maps, targets):
        error = l1_loss(maps[:, 0], targets.height, reduction='none') * targets.known
        return {'l1': error.sum() / targets.known.sum()}

    @staticmethod
    def select(maps):
        return maps[:, 0]

    @staticmethod
    def finish(selected, grid, options):
        return selected


@pytest.fixture
def names(monkeypatch):
    """Registers the head for one test; all names in the end."""
    monkeypatch.setattr(head_registry, '_HEADS', dict(head_registry._HEADS))
    assert register_head('height')(HeightHead) is HeightHead
    return ('detection', 'drivable', 'height')


def train(network, steps):
    """Losses of some steps on one frame, twice in the batch."""
    cloud = torch.from_numpy(LABELS.points)
    targets = stack_targets([compute_targets(network.heads, LABELS, FINE)] * 2)
    targets = map_tensors(lambda each: each.to('cpu'), targets)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        losses = compute_losses(network([cloud] * 2, [GRID] * 2), targets)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        yield {name: float(value.detach()) for name, value in losses.items()}


def test_a_registered_head_is_trained_and_decoded_with_the_others(names, tmp_path):
    assert list_heads() == sorted(names)
    with seeded(0):
        network = build_detector('tiny', mid_channels=8, out_channels=8, heads=names).train()
    first, *_, last = train(network, 30)
    assert list(first) == [
        'detection.heatmap',
        'detection.box',
        'detection.heading_sign',
        'drivable.cross_entropy',
        'height.l1',
    ]
    assert last['height.l1'] < 0.5 * first['height.l1']
    runner = HeadRunner(dict(network.eval().heads.items()), torch.device('cpu'))
    with torch.inference_mode():
        features = network.encode_bev([torch.from_numpy(LABELS.points)], [GRID])
        expected = network.heads['height'](features)[0, 0]
    outputs = runner(features, FINE, (0.5, 0.5, 0.5))
    assert list(outputs) == list(names)
    torch.testing.assert_close(outputs['height'], expected)
    for name in names:
        assert isinstance(outputs[name], head_class(name).output_type)

    torch.save({'model': network.state_dict()}, tmp_path / 'weights.pt')
    loaded = build_heads(['height'], 8)
    load_heads(loaded, tmp_path / 'weights.pt')
    assert torch.equal(loaded['height'].height.weight, network.heads['height'].height.weight)


def test_targets_are_those_of_the_labels():
    targets = compute_targets(['drivable', 'detection'], LABELS, FINE)
    assert targets['detection'].num_objects == 1
    drivable, observed, known = targets['drivable']
    assert known.all()
    assert torch.equal(drivable, (torch.arange(8) >= 4).float().expand(8, 8))
    # Within two cells of the ground point in row 6, column 6.
    expected = torch.zeros(8, 8)
    expected[4:, 4:] = 1
    assert torch.equal(observed, expected)
    unknown = compute_targets(['drivable'], replace(LABELS, is_drivable=None), FINE)['drivable']
    assert not unknown.drivable.any()
    assert not unknown.observed.any()
    assert not unknown.known.any()


def test_frames_of_unknown_roads_have_no_part_in_the_loss():
    head, maps = head_class('drivable'), torch.randn(2, 1, 8, 8)
    known = compute_targets(['drivable'], LABELS, FINE)
    unknown = compute_targets(['drivable'], replace(LABELS, is_drivable=None), FINE)
    both = head.loss(maps, stack_targets([known, unknown])['drivable'])['cross_entropy']
    alone = head.loss(maps[:1], stack_targets([known])['drivable'])['cross_entropy']
    torch.testing.assert_close(both, alone)
    assert head.loss(maps[1:], stack_targets([unknown])['drivable'])['cross_entropy'] == 0


@pytest.mark.parametrize('name', list_heads())
def test_a_name_is_registered_once(name):
    with pytest.raises(TinyBevError, match=f"head name is '{name}', which is taken"):
        register_head(name)(HeightHead)


def test_unknown_names_are_refused():
    for use in (lambda: build_heads(['detection', 'lanes'], 8), lambda: head_class('lanes')):
        with pytest.raises(TinyBevError, match="is 'lanes'; expected one of detection, drivable"):
            use()


def test_a_head_without_its_loss_cannot_be_built():
    class Unfinished(Head):
        def forward(self, features):
            return features

    with pytest.raises(TypeError, match='abstract'):
        Unfinished()
