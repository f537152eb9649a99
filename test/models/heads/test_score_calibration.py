# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ScoreCalibration: its scores, its place in the detection head, and its keys in checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.models.checkpoint.loading import load_heads
from tiny_bev_ros.models.heads.detection_head import DetectionHead, decode
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration

GRID = BevGrid((0, 20), (-10, 10), (-3, 1), 0.5)
SCALE, BIAS = torch.tensor([0.5, 1.5, 2.0]), torch.tensor([1.0, 0.0, -2.0])


def calibrated(module):
    """Sets the calibration of a module; returns the module."""
    module.scale.copy_(SCALE)
    module.bias.copy_(BIAS)
    return module


@pytest.fixture
def head():
    torch.manual_seed(0)
    return DetectionHead(in_channels=8, mid_channels=8).eval()


@pytest.fixture
def features():
    return 3 * torch.randn(1, 8, *GRID.shape, generator=torch.Generator().manual_seed(1))


def test_a_new_calibration_is_the_identity_on_logits():
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([2, 0, 1, 1])
    calibration = ScoreCalibration()
    assert torch.equal(calibration(logits), logits.sigmoid())
    assert torch.equal(calibration.of_labels(logits[0, 0, :4], labels), logits[0, 0, :4].sigmoid())
    assert not list(calibration.parameters())


def test_scale_and_bias_are_those_of_the_class():
    logits, labels = torch.randn(2, 3, 7), torch.tensor([2, 0, 1, 1, 0, 2, 2])
    calibration = calibrated(ScoreCalibration())
    expected = (SCALE[:, None] * logits + BIAS[:, None]).sigmoid()
    torch.testing.assert_close(calibration(logits), expected)
    scores = calibration.of_labels(logits[1, 0], labels)
    torch.testing.assert_close(scores, (SCALE[labels] * logits[1, 0] + BIAS[labels]).sigmoid())


def test_the_head_reports_calibrated_scores_of_unchanged_boxes(head, features):
    with torch.inference_mode():
        maps = head(features)
        before = head.select(maps)
        calibrated(head.calibration)
        after = head.select(maps)
    assert torch.equal(after[..., 1:], before[..., 1:])
    found = before[..., 0] > -torch.inf
    assert found.any() and not found.all()
    assert torch.equal(after[..., 0] > -torch.inf, found)
    expected = (SCALE[:, None] * before[0, ..., 0].logit() + BIAS[:, None]).sigmoid()
    torch.testing.assert_close(after[0][found[0]][:, 0], expected[found[0]], rtol=1e-3, atol=1e-4)


def test_least_scores_are_calibrated_ones(head, features):
    calibrated(head.calibration)
    with torch.inference_mode():
        maps = head(features)
    everything = decode(maps, GRID, (0.0,) * 3, head.calibration)[0]
    middle = len(everything.scores) // 2
    least = everything.scores[middle : middle + 2].mean().item()
    some = decode(maps, GRID, (least,) * 3, head.calibration)[0]
    assert torch.equal(some.scores, everything.scores[everything.scores >= least])
    outputs = HeadRunner({'detection': head}, torch.device('cpu'))(features, GRID, (least,) * 3)
    torch.testing.assert_close(outputs.detections.scores, some.scores, rtol=1e-3, atol=1e-4)
    raw = decode(maps, GRID, (0.0,) * 3)[0]
    assert (raw.scores[0] - everything.scores[0]).abs() > 1e-3


def test_training_does_not_see_it(head, features):
    before = head(features).heatmap
    calibrated(head.calibration)
    assert torch.equal(head(features).heatmap, before)


def test_it_keeps_the_channels_last_layout_of_the_head(head):
    folded = FoldedModule(head, torch.device('cpu'), torch.float32)
    features = torch.zeros(1, 8, *GRID.shape)
    seen = []
    folded.module.shared.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    folded(features)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_checkpoints_without_it_load_as_the_identity(head, tmp_path):
    state = {key: value for key, value in head.state_dict().items() if 'calibration' not in key}
    torch.save({f'heads.detection.{key}': value for key, value in state.items()}, tmp_path / 'old')
    heads = nn.ModuleDict({'detection': DetectionHead(in_channels=8, mid_channels=8)})
    calibrated(heads['detection'].calibration)
    load_heads(heads, tmp_path / 'old')
    assert heads['detection'].calibration.scale.tolist() == [1, 1, 1]
    assert heads['detection'].calibration.bias.tolist() == [0, 0, 0]
    assert torch.equal(heads['detection'].maps.weight, head.maps.weight)
    calibrated(heads['detection'].calibration)
    heads['detection'].load_state_dict(state)
    assert heads['detection'].calibration.scale.tolist() == [1, 1, 1]


def test_checkpoints_with_it_load(head, tmp_path):
    calibrated(head.calibration)
    heads = nn.ModuleDict({'detection': head})
    torch.save({'heads': heads.state_dict()}, tmp_path / 'new')
    loaded = nn.ModuleDict({'detection': DetectionHead(in_channels=8, mid_channels=8)})
    load_heads(loaded, tmp_path / 'new')
    assert torch.equal(loaded['detection'].calibration.scale, SCALE)
    assert torch.equal(loaded['detection'].calibration.bias, BIAS)
    head.calibration.scale[1] = 0
    torch.save({'heads': heads.state_dict()}, tmp_path / 'wrong')
    with pytest.raises(TinyBevError, match='holds a scale of 0 or less; expected scales above 0'):
        load_heads(loaded, tmp_path / 'wrong')
