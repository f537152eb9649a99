# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Few labelled sweeps: the folder, the recipe on the shipped weights, and the comparison."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

from pathlib import Path

import numpy as np
import torch
import yaml
from ground_cloud import ground_cloud

from experiments.few_labels import compare, markdown, run_config
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.training.evaluation import Score, simulated_eval_frame
from tiny_bev_ros.training.kitti import KittiFolder, write_kitti_frame
from tiny_bev_ros.training.labelled_frame import Frame, instance_ids
from tiny_bev_ros.training.train import main as train_main

RECIPE = Path(__file__).parents[2] / 'config/training/few_labels.yaml'
BOXES = np.array(
    [
        [9.0, 3.0, -0.95, 4.2, 1.8, 1.5, 0.4],
        [-8.0, 1.0, -0.9, 0.8, 0.7, 1.7, -2.5],
        [6.0, -5.0, -0.9, 1.8, 0.6, 1.7, 3.0],
        [12.0, -4.0, -0.9, 1.8, 0.6, 1.2, 1.0],
        [30.0, 9.0, 3.0, 4.2, 1.8, 1.5, 0.0],
    ],
    np.float32,
)
LABELS = np.array([0, 1, 2, -1, 0])


def labelled_frame(seed=0):
    """Frame with points on all objects but the last."""
    random = np.random.default_rng(seed)
    parts = [ground_cloud(seed=seed)]
    for box in BOXES[:4]:
        inside = np.zeros((40, 4))
        inside[:, :3] = random.uniform(-0.2, 0.2, (40, 3)) + box[:3]
        parts.append(inside)
    points = np.concatenate(parts).astype(np.float32)
    return Frame(points, instance_ids(BOXES, points), BOXES, LABELS)


def test_a_frame_in_the_form_of_kitti_is_the_frame(tmp_path):
    write_kitti_frame(tmp_path, '000000', labelled_frame())
    frame = KittiFolder(tmp_path).frame('000000')
    np.testing.assert_allclose(frame.boxes, BOXES[:4], atol=2e-3)
    assert frame.labels.tolist() == [0, 1, 2, -1]
    np.testing.assert_array_equal(frame.points, labelled_frame().points)
    assert frame.whole


def test_the_recipe_trains_the_shipped_weights_on_a_folder(tmp_path, monkeypatch, capsys):
    for seed in range(20):
        write_kitti_frame(tmp_path / 'kitti', f'{seed:06d}', labelled_frame(seed))
    values = yaml.safe_load(RECIPE.read_text())
    values |= {'data': str(tmp_path / 'kitti'), 'steps': 2, 'workers': 0}
    values['crop']['size'] = 12.8
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(values))
    torch.set_num_threads(1)
    words = f'train --config {tmp_path}/mine.yaml --start-from street --output {tmp_path}/mine'
    monkeypatch.setattr('sys.argv', words.split())
    assert train_main() == 0
    assert 'weights.safetensors' in capsys.readouterr().out
    path = tmp_path / 'mine/weights.safetensors'
    old, new = read_metadata(find_weights('street')), read_metadata(path)
    assert new.network['heads'] == old.network['heads']
    assert new.levelled
    before, after = load_weights(find_weights('street'))[0], load_weights(path)[0]
    assert not torch.equal(before.pfn.linear.weight, after.pfn.linear.weight)
    torch.testing.assert_close(
        after.pfn.linear.weight, before.pfn.linear.weight, atol=1e-2, rtol=0
    )
    detector = Detector(path, (-16, 16), (-16, 16))
    assert detector.runner.refinement is not None
    detector(labelled_frame().points)


def test_simulated_frames_have_the_sensors_of_the_old_weights():
    config = run_config(RECIPE, find_weights('street'), 'a folder', 7)
    origin = read_metadata(find_weights('street')).origin
    assert (config.data, config.steps, config.simulated_fraction) == ('a folder', 7, 0.5)
    assert list(config.lidars) == origin['config']['lidars']


def test_gains_have_intervals():
    scores = []
    for right in (1, 2):  # number of cars that are found, of two
        score = Score()
        for seed in range(6):
            frame = labelled_frame(seed)
            boxes = torch.from_numpy(BOXES[[0, 3]][:right].copy())
            frame = Frame(frame.points, frame.instance_ids, BOXES, np.array([0, 1, 2, 0, -1]))
            found = Detections(boxes, torch.full((right,), 0.9), torch.zeros(right).long())
            score.add(simulated_eval_frame(str(seed), frame), found)
        scores.append(score)
    values = compare(*scores)
    vehicles = values['vehicle bev 0.5']
    assert vehicles['before'][0] == 0.5
    assert vehicles['after'] == [1, 1, 1]
    assert vehicles['gain'] == [0.5, 0.5, 0.5]
    assert vehicles['objects'] == 12
    assert values['pedestrian bev 0.25']['gain'] == [0, 0, 0]
    row = {'sweeps': 20, 'steps': 5, 'livox': values, 'sim': values}
    lines = markdown([row]).splitlines()
    assert lines[2].startswith('| 20 | 5 | livox | 0.500 to 1.000, +0.500 (+0.50 to +0.50) |')
    assert len(lines) == 4
