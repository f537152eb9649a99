# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The second stage at run time: folded network, thresholds, frames, its place in a ModelRunner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from second_stages import lively_second_stage, save_with_second_stage

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.point_crops import crop_points
from tiny_bev_ros.inference.refinement_runner import RefinementRunner
from tiny_bev_ros.models.heads.box_ops import nms_bev
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.refinement import MIN_CANDIDATE_SCORE

RANGES = ((0.0, 16.0), (-8.0, 8.0))
SCORES = (0.0, 0.0, 0.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_second_stage(tmp_path_factory.mktemp('weights') / 'weights.safetensors')


@pytest.fixture(scope='module')
def points() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform([0, -8, -3, 0], [16, 8, 1, 1], (3000, 4)).astype(np.float32)


def found() -> Detections:
    random = torch.Generator().manual_seed(0)
    low = torch.tensor([1.0, -7, -1.5, 0.5, 0.5, 1.0, -3.0])
    high = torch.tensor([15.0, 7, 0.0, 5.0, 2.0, 2.0, 3.0])
    boxes = low + (high - low) * torch.rand(30, 7, generator=random)
    return Detections(boxes, torch.linspace(0.95, 0.1, 30), torch.arange(30) % 3)


def equal(first: Detections, second: Detections) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_the_folded_network_is_the_network(points: np.ndarray):
    head = lively_second_stage()
    refined = RefinementRunner(head)(found(), points, (0.0,) * 3)
    with torch.inference_mode():
        wanted = head(crop_points(points, found().boxes), found())
    apart = nms_bev(*wanted, 0.3)
    assert 20 < len(apart) < 30
    for one, other in zip(refined, wanted, strict=True):
        torch.testing.assert_close(one, other[apart], atol=1e-4, rtol=1e-4)


def test_thresholds_hold_for_the_final_scores(points: np.ndarray):
    runner = RefinementRunner(lively_second_stage())
    everything = runner(found(), points, (0.0,) * 3)
    middle = float(everything.scores.median())
    kept = runner(found(), points, (middle, 0.0, 1.0))
    wanted = everything.scores >= torch.tensor([middle, 0.0, 1.0])[everything.labels]
    assert 0 < int(wanted.sum()) < len(wanted)
    equal(kept, Detections(*(each[wanted] for each in everything)))
    assert kept.scores.tolist() == sorted(kept.scores.tolist(), reverse=True)


def test_candidates_may_have_lower_scores_than_reported_objects():
    assert RefinementRunner(lively_second_stage()).candidate_scores == (MIN_CANDIDATE_SCORE,) * 3
    assert MIN_CANDIDATE_SCORE < 0.3


def test_an_object_with_two_boxes_is_reported_once(points: np.ndarray):
    detections = found()
    twice = Detections(*(torch.cat([each, each]) for each in detections))
    runner = RefinementRunner(lively_second_stage())
    wanted = runner(detections, points, (0.0,) * 3)
    for one, other in zip(runner(twice, points, (0.0,) * 3), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_boxes_in_the_frame_of_a_map_meet_points_relative_to_its_reference(points: np.ndarray):
    runner = RefinementRunner(lively_second_stage())
    points = points[::20]  # few enough to be taken whole: boxes so far away are rounded to 4 mm
    wanted = runner(found(), points, SCORES)
    reference = (40_000.0, -8_000.0)
    shift = torch.tensor([*reference, 0, 0, 0, 0, 0])
    far = found()._replace(boxes=found().boxes + shift)
    refined = runner(far, points, SCORES, reference)
    boxes = refined.boxes - shift
    # Scores that are nearly equal may change places.
    order = torch.cdist(wanted.boxes, boxes).argmin(1)
    assert order.sort().values.tolist() == list(range(len(boxes)))
    torch.testing.assert_close(boxes[order], wanted.boxes, atol=0.05, rtol=0)
    torch.testing.assert_close(refined.scores[order], wanted.scores, atol=0.05, rtol=0)


def test_objects_are_refined_from_the_position_of_the_sensor(points: np.ndarray):
    runner = RefinementRunner(lively_second_stage())
    wanted = runner(found(), points, SCORES)
    moved = points + np.float32([1.5, -0.5, 0, 0])
    shift = torch.tensor([1.5, -0.5, 0, 0, 0, 0, 0])
    boxes = found()._replace(boxes=found().boxes + shift)
    refined = runner(boxes, moved, SCORES, sensor=(1.5, -0.5))
    torch.testing.assert_close(refined.boxes - shift, wanted.boxes, atol=1e-3, rtol=0)
    elsewhere = runner(boxes, moved, SCORES)
    assert not torch.allclose(elsewhere.scores, wanted.scores, atol=1e-3)


def test_a_call_is_its_stages_with_the_second_one_last(weights: Path, points: np.ndarray):
    models = LoadedModels.from_file(weights, *RANGES)
    runner = build_runner(models, ExecutionConfig(torch.device('cpu')))
    outputs = runner(points, SCORES)
    assert list(outputs.seconds) == ['pillars', 'backbone', 'heads', 'refinement']
    assert runner.grid is not None
    pillars = runner.encode_points(points)
    features = runner.extract_features(pillars.features, pillars.cells, runner.grid.shape)
    low = runner.detect(features, runner.feature_grid, SCORES)
    refined = runner.refine(low, points, SCORES)
    assert outputs.heads.detections is not None and refined.detections is not None
    equal(outputs.heads.detections, refined.detections)
    assert len(refined.detections.boxes) > 3
    assert torch.equal(refined['drivable'], outputs.heads['drivable'])


def test_a_detector_refines_or_not(weights: Path, points: np.ndarray):
    detector = Detector(weights, *RANGES, device='cpu')
    plain = Detector(weights, *RANGES, device='cpu', refine_boxes=False)
    assert plain.runner.refinement is None
    first = plain(points, SCORES)
    assert list(first.seconds) == ['pillars', 'backbone', 'heads']
    refined = detector(points, SCORES)
    runner = RefinementRunner(lively_second_stage())
    assert first.heads.detections is not None and refined.heads.detections is not None
    equal(refined.heads.detections, runner(first.heads.detections, points, SCORES))
    assert not np.array_equal(refined.boxes, first.boxes)


def test_a_detector_in_the_frame_of_a_map_refines_alike(weights: Path, points: np.ndarray):
    x, y = 4096.0, -2048.0
    grid = BevGrid((x, x + 16), (y - 8, y + 8), (-3, 1), 0.5)
    far = points.astype(np.float64)
    far[:, :2] += [x, y]
    result = Detector(weights, grid=grid, device='cpu')(far, SCORES)
    near = BevGrid((-8, 8), (-8, 8), (-3, 1), 0.5)
    centred = points.copy()
    centred[:, 0] -= 8
    wanted = Detector(weights, grid=near, device='cpu')(centred, SCORES)
    assert len(result.boxes) == len(wanted.boxes) > 3
    shifted = result.boxes - np.array([x + 8, y, 0, 0, 0, 0, 0], np.float32)
    # Equal scores may change places.
    rows = np.column_stack([shifted, result.scores])
    others = np.column_stack([wanted.boxes, wanted.scores])
    unlike = np.array(result.labels)[:, None] != np.array(wanted.labels)
    nearest = (np.abs(rows[:, None] - others).max(axis=2) + unlike).argmin(axis=1)
    assert len(set(nearest)) == len(rows)
    assert [wanted.labels[index] for index in nearest] == list(result.labels)
    np.testing.assert_allclose(rows, others[nearest], atol=0.01)
