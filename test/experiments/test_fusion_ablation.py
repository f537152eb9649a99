# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Comparison of sensors: evaluation by light and by halves, tables, and runs that are kept."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import argparse
import json

import matplotlib.image
import pytest
import torch
from small_ablation import small_config

from experiments import ablation_modes, fusion_ablation
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training.camera_dataset import CameraFrames


class Mode:
    """A stand-in for a model, which has nothing but a mode."""

    def __init__(self, mode):
        self.mode = mode


def test_evaluation_by_light_and_by_halves(tmp_path, monkeypatch):
    frames = [CameraFrames(tmp_path, range(2, 6))[index] for index in range(4)]
    assert {frame.dark for frame in frames} == {True, False}
    evaluated = []

    def perfect(model, frame, unplugged=False):
        index = next(i for i, each in enumerate(frames) if each is frame)
        evaluated.append((index, unplugged))
        # All objects are detected in lit frames, and none without the camera.
        kept = (frame.lidar.labels >= 0) & (not frame.dark) & (not unplugged)
        boxes, labels = frame.lidar.boxes[kept], frame.lidar.labels[kept]
        scores = torch.full((len(labels),), 0.9)
        return Detections(torch.from_numpy(boxes), scores, torch.from_numpy(labels))

    monkeypatch.setattr(fusion_ablation, 'detect', perfect)
    precision = fusion_ablation.evaluate(Mode('fused'), frames)
    assert evaluated == [(0, False), (1, False), (2, False), (2, True), (3, False), (3, True)]
    assert precision['light']['vehicle'] == 1
    assert precision['dark']['vehicle'] == 0
    assert 0 < precision['all']['vehicle'] < 1
    assert precision['second half, unplugged']['vehicle'] == 0
    parts = {'all', 'light', 'dark', 'second half'}
    assert set(fusion_ablation.evaluate(Mode('lidar'), frames)) == parts


def test_runs_are_kept(tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    parts = ('all', 'light', 'dark', 'second half', 'second half, unplugged')
    precision = {'vehicle': 0.5, 'pedestrian': 0.4, 'marked vehicle': 0.3, 'mean': 0.4}
    monkeypatch.setattr(
        fusion_ablation, 'evaluate', lambda model, frames: dict.fromkeys(parts, precision)
    )
    monkeypatch.setattr(fusion_ablation, 'CONFIG', small_config())
    trained = []

    def train(mode, config, *arguments):
        trained.append((mode, config.seed))
        return ablation_modes.train(mode, config, *arguments)

    monkeypatch.setattr(fusion_ablation, 'train', train)
    options = argparse.Namespace(
        output=str(tmp_path), frames=4, eval_frames=2, seeds=[0], modes=['lidar', 'fused'], steps=1
    )
    fusion_ablation.run(options)
    fusion_ablation.run(options)
    assert trained == [('lidar', 0), ('fused', 0)]
    results = json.loads((tmp_path / 'fused_0.json').read_text())
    assert results['steps'] == len(results['losses']) == 1
    text = (tmp_path / 'fusion.md').read_text()
    assert '| fused, camera unplugged | 0.500 (0.500..0.500) | 0.400' in text
    assert '| fused, dark | 0.500' in text
    assert text.strip() in capsys.readouterr().out
    assert matplotlib.image.imread(tmp_path / 'fusion.png').shape[0] > 300
    options.steps = 2
    with pytest.raises(TinyBevError, match='is of other steps or frames'):
        fusion_ablation.run(options)
