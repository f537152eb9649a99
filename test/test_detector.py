# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detector: inputs that it accepts, outputs that it names, errors of wrong inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.detector_result import DetectedObject
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models import PillarFeatureNet, build_backbone, seeded
from tiny_bev_ros.models.heads.head_registry import build_heads
from tiny_bev_ros.resources import WEIGHTS, weights_file
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

STREET = weights_file('street')
RANGES: tuple[Any, Any] = ((0.0, 25.6), (-12.8, 12.8))


@pytest.fixture(scope='module')
def points() -> np.ndarray:
    return scan(street(0), LIDARS['hdl64'], ego_pose(street_plan(0), 0.0)).points


@pytest.fixture(scope='module')
def detector() -> Detector:
    return Detector('street', *RANGES, device='cpu')


def same(found: Any, wanted: Any) -> None:
    assert np.array_equal(found.boxes, wanted.boxes)
    assert np.array_equal(found.scores, wanted.scores)
    assert torch.equal(found.features, wanted.features)


def test_a_result_names_everything(detector: Detector, points: np.ndarray):
    result = detector(points)
    count = len(result.boxes)
    assert count > 1
    assert result.boxes.shape == (count, 7)
    assert result.boxes.dtype == result.scores.dtype == np.float32
    assert list(result.scores) == sorted(result.scores, reverse=True)
    assert result.labels == [Detector.classes[index] for index in result.label_ids]
    assert result.features.shape == (1, 64, 64, 64)
    assert result.drivable is not None
    assert result.drivable.shape == result.grid.shape == (64, 64)
    assert result.grid == detector.feature_grid == detector.grid.strided(detector.stride)
    stages = ['pillars', 'backbone', 'heads']
    stages += ['refinement'] * (detector.runner.refinement is not None)
    assert list(result.seconds) == stages
    assert min(result.seconds.values()) > 0
    first = result.objects[0]
    assert len(result.objects) == count
    assert isinstance(first, DetectedObject)
    assert first.label == result.labels[0]
    assert first[1:] == (result.scores[0], *result.boxes[0])


def test_features_of_a_result_stay(detector: Detector, points: np.ndarray):
    result = detector(points)
    before = result.features.clone()
    for _ in range(3):
        detector(points[:100])
    assert torch.equal(result.features, before)


@pytest.mark.parametrize(
    'form',
    [
        torch.from_numpy,
        lambda points: torch.from_numpy(points).double(),
        lambda points: points.astype(np.float64),
        lambda points: points[:, :3],  # the network ignores the intensity
        lambda points: np.column_stack([points, np.ones(len(points), np.float32)]),
        np.asfortranarray,
        lambda points: np.vstack([points, np.full((3, 4), np.nan, np.float32)]),
        lambda points: np.vstack([points.astype(np.float64), np.full((1, 4), 1e300)]),
    ],
    ids=['tensor', 'double', 'numpy64', 'xyz', 'time', 'fortran', 'nan', 'huge'],
)
def test_every_form_of_the_same_points_is_the_same_cloud(
    detector: Detector, points: np.ndarray, form: Any
):
    same(detector(form(points)), detector(points))


# The second stage, if there is one, samples other points near a box that is rounded otherwise.
@pytest.mark.parametrize(
    ('refine_boxes', 'scores_within', 'boxes_within'), [(False, 1e-3, 0.01), (True, 0.05, 0.5)]
)
def test_a_cloud_in_the_frame_of_a_map_is_that_of_its_sensor(
    points: np.ndarray, refine_boxes: bool, scores_within: float, boxes_within: float
):
    near = Detector(x_range=(-12.8, 12.8), y_range=(-12.8, 12.8), refine_boxes=refine_boxes)
    grid = BevGrid((4987.2, 5012.8), (-8012.8, -7987.2), (-3, 2), 0.2)
    far = Detector(grid=grid, refine_boxes=refine_boxes)
    cloud = points.astype(np.float64) + np.array([*grid.reference, 0, 0])
    before = cloud.copy()
    found, wanted = far(cloud), near(points)
    assert np.array_equal(cloud, before)
    assert len(found.boxes) == len(wanted.boxes) > 1
    moved = found.boxes - np.array([*grid.reference, 0, 0, 0, 0, 0], np.float32)
    # Objects of nearly equal scores may change places.
    away = np.linalg.norm(moved[None, :, :2] - wanted.boxes[:, None, :2], axis=2)
    order = away.argmin(axis=1)
    assert sorted(order) == list(range(len(moved)))
    assert np.allclose(found.scores[order], wanted.scores, atol=scores_within)
    errors = moved[order] - wanted.boxes
    errors[:, 6] = np.sin(errors[:, 6])  # -pi and pi are one heading
    assert np.abs(errors).max() < boxes_within


def test_an_empty_cloud_has_no_objects(detector: Detector):
    result = detector(np.zeros((0, 4), np.float32), min_scores=0.9)
    assert result.objects == []
    assert result.boxes.shape == (0, 7)


def test_least_scores_are_one_for_all_classes_or_one_for_each(
    detector: Detector, points: np.ndarray
):
    same(detector(points, 0.5), detector(points, (0.5, 0.5, 0.5)))
    same(detector(points, np.float32(0.5)), detector(points, np.full(3, 0.5)))
    assert (detector(points, (0.5, 1.0, 1.0)).label_ids == 0).all()
    with pytest.raises(TinyBevError, match='min_scores are 2; expected 3'):
        detector(points, (0.5, 0.5))


@pytest.mark.parametrize(
    ('points', 'message'),
    [
        (np.zeros((5, 2), np.float32), r'points have shape \(5, 2\); expected \(N, 3\)'),
        (np.zeros((5, 6), np.float32), r'points have shape \(5, 6\)'),
        (np.zeros(12, np.float32), r'points have shape \(12,\)'),
        (np.zeros((5, 4), np.int32), 'points are int32; expected a NumPy array or a tensor of'),
        (np.zeros((5, 4), np.float16), 'points are float16'),
        (torch.zeros(5, 4, dtype=torch.bfloat16), 'points are torch.bfloat16'),
        ([[0.0, 0.0, 0.0]], 'points are list'),
    ],
)
def test_wrong_points_are_refused(detector: Detector, points: Any, message: str):
    with pytest.raises(TinyBevError, match=message):
        detector(points)


def test_weights_are_found_by_name_or_by_path(tmp_path: Path):
    assert Detector(STREET, *RANGES).metadata == Detector(WEIGHTS[0], *RANGES).metadata
    with pytest.raises(TinyBevError, match="weights is 'stret'; expected street, or the path"):
        Detector('stret')
    other = tmp_path / 'other'
    other.write_bytes(b'no weights')
    with pytest.raises(TinyBevError, match='other'):
        Detector(other)


def test_a_grid_is_given_by_extents_or_whole():
    default = Detector()
    assert default.grid == BevGrid((0, 51.2), (-25.6, 25.6), (-3, 2), 0.2)
    assert Detector(grid=default.grid.strided(1)).grid == default.grid
    assert Detector(x_range=(-6.4, 6.4)).grid.x_range == (-6.4, 6.4)
    with pytest.raises(TinyBevError, match='grid is given with x_range or y_range'):
        Detector(x_range=(0, 6.4), grid=default.grid)
    with pytest.raises(TinyBevError, match=r'cells of 0.4 m .* expected 0.2 and \[-3.0, 2.0\]'):
        Detector(grid=default.grid.strided(2))
    with pytest.raises(TinyBevError, match='expected a whole number of cells'):
        Detector(x_range=(0, 6.5), y_range=(0, 6.45))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'device': 'gpu'}, "device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ({'precision': 'int8'}, "backbone.precision is 'int8'; expected one of float32"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], message: str):
    with pytest.raises(TinyBevError, match=message):
        Detector('street', *RANGES, **options)  # type: ignore[arg-type]


def test_a_network_with_time_takes_five_values(monkeypatch: pytest.MonkeyPatch):
    with seeded(0):
        models = LoadedModels(
            pfn=PillarFeatureNet(in_channels=11, out_channels=8).eval(),
            backbone=build_backbone('tiny', in_channels=8, mid_channels=8, out_channels=8).eval(),
            heads=build_heads(('drivable',), 8).eval(),
            grid=BevGrid((0, 8), (-4, 4), (-3, 1), 0.5),
        )
    monkeypatch.setattr(LoadedModels, 'from_file', lambda *_, **__: models)
    detector = Detector()
    assert detector(np.zeros((4, 5), np.float32)).objects == []
    with pytest.raises(TinyBevError, match='points have 4 values; expected 5'):
        detector(np.zeros((4, 4), np.float32))
