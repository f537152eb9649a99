# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""RefinementHead: its inputs, its place among the heads and in files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from second_stages import lively_second_stage, save_with_second_stage

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.point_crops import crop_points
from tiny_bev_ros.models import RefinementHead, list_heads, seeded
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata
from tiny_bev_ros.models.heads.box_crops import BoxCrops
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.head_registry import box_head, build_heads, head_class, map_heads
from tiny_bev_ros.models.heads.refinement import REFINEMENT


def scene(count: int = 20) -> tuple[torch.Tensor, Detections]:
    """Returns points around boxes that face in all directions, and the boxes."""
    random = torch.Generator().manual_seed(3)
    centre = torch.rand(count, 2, generator=random) * 40 - 20
    yaw = torch.rand(count, 1, generator=random) * 2 * math.pi - math.pi
    boxes = torch.cat([centre, torch.tensor([[-0.9, 4.2, 1.8, 1.5]]).expand(count, 4), yaw], 1)
    points = (torch.rand(count * 50, 3, generator=random) - 0.5) * torch.tensor([6.0, 6.0, 2.0])
    points += torch.cat([boxes[:, :3]] * 50)
    labels = torch.arange(count) % 3
    scores = torch.linspace(0.9, 0.1, count)
    return points, Detections(boxes, scores, labels)


@torch.inference_mode()
def refined(head: RefinementHead, points: torch.Tensor, found: Detections) -> Detections:
    return head(crop_points(points.numpy(), found.boxes), found)


def test_an_untrained_second_stage_keeps_boxes():
    points, found = scene()
    boxes, scores, labels = refined(RefinementHead().eval(), points, found)
    torch.testing.assert_close(boxes, found.boxes)
    torch.testing.assert_close(scores, torch.full_like(scores, 0.5))
    assert torch.equal(labels, found.labels)


def test_boxes_and_scores_follow_the_points():
    points, found = scene()
    head = lively_second_stage()
    first, second = refined(head, points, found), refined(head, points + 0.2, found)
    for box in (first, second):
        assert (box.boxes - found.boxes).abs().amax(1).min() > 1e-3
        assert (box.scores > 0).all() and (box.scores < 1).all()
    assert (first.boxes - second.boxes).abs().max() > 1e-3
    assert not torch.equal(first.scores, second.scores)


def test_a_mirrored_scene_has_mirrored_results():
    points, found = scene()
    mirror = torch.tensor([1.0, -1, 1, 1, 1, 1, -1])
    wanted = refined(lively_second_stage(), points, found)
    other = found._replace(boxes=found.boxes * mirror)
    mirrored = refined(lively_second_stage(), points * mirror[:3], other)
    torch.testing.assert_close(mirrored.scores, wanted.scores, atol=1e-4, rtol=1e-4)
    difference = mirrored.boxes * mirror - wanted.boxes
    assert difference[:, :6].abs().max() < 1e-3
    assert difference[:, 6].sin().abs().max() < 1e-3


def test_boxes_without_points_and_no_boxes_at_all():
    _, found = scene()
    head = lively_second_stage()
    nowhere = BoxCrops(torch.empty(0, 3), torch.zeros(20, dtype=torch.long))
    for each in head(nowhere, found):
        assert each.isfinite().all()
    none = Detections(torch.empty(0, 7), torch.empty(0), torch.empty(0, dtype=torch.long))
    assert [len(each) for each in head(BoxCrops(torch.empty(0, 3), none.labels), none)] == [0] * 3


def test_final_scores_are_calibrated():
    points, found = scene()
    head = lively_second_stage()
    plain = refined(head, points, found)
    head.calibration.scale.copy_(torch.tensor([2.0, 1.0, 0.5]))
    head.calibration.bias.copy_(torch.tensor([0.0, -1.0, 0.3]))
    scores = refined(head, points, found).scores
    wanted = plain.scores.logit() * head.calibration.scale[found.labels]
    wanted = (wanted + head.calibration.bias[found.labels]).sigmoid()
    torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=1e-4)


def test_it_is_a_head_of_the_registry_without_maps():
    assert REFINEMENT not in list_heads()
    with seeded(0):
        heads = build_heads(('detection', REFINEMENT, 'drivable'), 8)
    assert list(map_heads(heads)) == ['detection', 'drivable']
    assert box_head(heads) is heads[REFINEMENT]
    assert box_head(build_heads(('detection',), 8)) is None
    with pytest.raises(TinyBevError, match=r"head is 'refinement'; expected one of detection"):
        head_class(REFINEMENT)


def test_one_file_holds_all_networks(tmp_path: Path):
    path = save_with_second_stage(tmp_path / 'weights.safetensors')
    keys = safetensors.torch.load_file(path)
    own = {key for key in keys if key.startswith('heads.refinement.')}
    assert own == {f'heads.refinement.{key}' for key in RefinementHead().state_dict()}
    metadata = read_metadata(path)
    assert metadata.network['heads'] == ['detection', 'drivable', REFINEMENT]
    assert metadata.origin == {'seed': 0, 'second_stage': {'command': 'none'}}
    network, _ = load_weights(path)
    second = box_head(network.heads)
    assert second is not None
    for key, value in lively_second_stage().state_dict().items():
        assert torch.equal(second.state_dict()[key], value)


def test_the_maps_are_those_of_the_other_heads():
    with seeded(0):
        network = build_detector('tiny', out_channels=8, heads=('drivable', REFINEMENT)).eval()
    grid = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
    with torch.inference_mode():
        assert list(network([torch.rand(30, 4)], [grid])) == ['drivable']
