# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Exported forms of networks compute the results of the package."""

from __future__ import annotations

import pytest
import torch
from small_models import small_models
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.exported_networks import BackboneWithHeads, PaddedPfn
from tiny_bev_ros.models import PillarFeatureNet
from tiny_bev_ros.models.heads.detection_head import decode
from tiny_bev_ros.models.heads.head_registry import Head


@torch.no_grad()
def test_scores_and_boxes_are_those_of_decoded_objects():
    models = small_models('tiny')
    network = BackboneWithHeads(models.backbone, models.heads).eval()
    assert network.outputs == ('scores', 'boxes', 'drivable')
    image = torch.rand(1, 8, 64, 80)
    scores, boxes, drivable = (each[0] for each in network(image))
    features = models.backbone(image)
    head, grid = models.heads['detection'], models.grid.strided(2)
    (wanted,) = decode(head(features), grid, (0.0,) * 3, head.calibration)
    assert len(wanted.scores)
    road = models.heads['drivable']
    torch.testing.assert_close(drivable[None], road(features).sigmoid())
    label = wanted.labels[0]
    assert scores[label].max() == pytest.approx(wanted.scores[0].item(), rel=1e-5)
    flat = int(scores[label].argmax())
    row, col = divmod(flat, scores.shape[2])
    x, y, z, length, width, height, sin, cos, sign = boxes[:, row, col].tolist()
    yaw = torch.atan2(torch.tensor(sin), torch.tensor(cos)) / 2
    yaw = yaw if sign >= 0 else yaw + torch.pi
    got = [grid.x_axis.centre(col + x), grid.y_axis.centre(row + y), z, length, width, height]
    torch.testing.assert_close(torch.tensor(got), wanted.boxes[0, :6], atol=1e-4, rtol=1e-4)
    assert torch.cos(yaw - wanted.boxes[0, 6]) == pytest.approx(1.0, abs=1e-5)


def test_an_unknown_head_is_refused_by_name():
    models = small_models('tiny')
    with pytest.raises(TinyBevError, match=r"head is 'own'; expected detection or drivable"):
        BackboneWithHeads(models.backbone, nn.ModuleDict({'own': OwnHead()}))


class OwnHead(Head):
    forward = targets = loss = select = finish = None


@torch.no_grad()
def test_rows_behind_the_points_of_a_pillar_are_ignored():
    pfn = PaddedPfn(small_models('tiny').pfn, (-3.0, 2.0)).eval()
    points, centres = torch.rand(3, 4, 4), torch.rand(3, 2)
    counts = torch.tensor([4, 2, 0], dtype=torch.int32)
    features = pfn(points, counts, centres)
    points[1, 2:], points[2] = 1e6, torch.nan
    assert torch.equal(pfn(points, counts, centres), features)
    assert not features[2].any() and features[:2].any()


def test_a_net_of_limited_pillars_is_refused():
    with pytest.raises(TinyBevError, match=r'PFN has max_points 32 and .*; expected None'):
        PaddedPfn(PillarFeatureNet(max_points=32), (-3.0, 2.0))
