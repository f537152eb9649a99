# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Agreement with Autoware's node: objects that match, and reasons for which others do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiny_bev_ros.export.autoware_agreement import Agreement, add_sweep
from tiny_bev_ros.export.autoware_emulation import (
    AutowareGrid,
    AutowareObjects,
    AutowarePillars,
    decode,
    suppress,
)

POST_PROCESS = {
    'circle_nms_dist_threshold': 0.5,
    'iou_nms_search_distance_2d': 10.0,
    'iou_nms_threshold': 0.1,
}
MODEL: dict[str, Any] = {
    'class_names': ['CAR', 'PEDESTRIAN', 'BICYCLE'],
    'max_voxel_size': 99,
    'point_cloud_range': [0.0, 0.0, 0.0, 8.0, 8.0, 4.0],
    'voxel_size': [0.5, 0.5, 4.0],
    'downsample_factor': 2,
    'yaw_norm_thresholds': [0.0, 0.0, 0.0],
    'detection_score_thresholds': {
        'distance_bin_upper_limits': [200.0],
        'min_confidence_scores': {'CAR': [0.3], 'PEDESTRIAN': [0.3], 'BICYCLE': [0.3]},
    },
}


class NodeStandIn:
    """Emulated node without networks: pedestrians of 0.6 m in some cells."""

    model = MODEL
    grid = AutowareGrid.from_parameters(MODEL)

    def __init__(self, *cells: tuple[int, int, int, float], yaw: float = 0.0) -> None:
        maps = {name: np.zeros((1, n, 8, 8), np.float32) for name, n in (('reg', 2), ('dim', 3))}
        maps |= {'heatmap': np.full((1, 3, 8, 8), -20, np.float32)}
        maps |= {'height': np.ones((1, 1, 8, 8), np.float32)}
        maps['rot'] = np.tile(-np.array([np.cos(yaw), np.sin(yaw)])[:, None, None], (1, 1, 8, 8))
        maps['reg'] += 0.5
        maps['dim'] += np.log(0.6)
        for col, row, label, score in cells:
            maps['heatmap'][0, label, row, col] = np.log(score / (1 - score))
        self.maps = maps

    def encode(self, pillars: AutowarePillars) -> np.ndarray:
        return np.zeros((len(pillars.cells), 1, 32), np.float32)

    def scatter(self, features: np.ndarray, cells: np.ndarray) -> np.ndarray:
        return features

    def run_head(self, canvas: np.ndarray) -> dict[str, np.ndarray]:
        return self.maps

    def objects(self, outputs: dict[str, np.ndarray]) -> AutowareObjects:
        return suppress(decode(outputs, self.model), POST_PROCESS, MODEL['class_names'])


def compare(node: Any, label: int = 1, points: int = 1) -> Agreement:
    """Compares with an object of a class at (2.5, 2.5), which has a number of points."""
    box = np.array([[2.5, 2.5, 1.0, 0.6, 0.6, 0.6, 0.0]], np.float32)
    wanted = AutowareObjects(box, np.float32([0.5]), np.array([label]))
    agreement = Agreement()
    add_sweep(agreement, node, np.tile(np.float32([2.4, 2.4, 1.0]), (points, 1)), wanted)
    return agreement


def test_an_equal_object_matches():
    agreement = compare(NodeStandIn((2, 2, 1, 0.6), (6, 6, 1, 0.6)))
    assert (agreement.total, agreement.matched, agreement.added) == (1, 1, 1)
    assert agreement.fraction == 1
    assert str(agreement) == '1 of 1 objects match, the node alone has 1'


@pytest.mark.parametrize(
    ('node', 'points', 'reason'),
    [
        (NodeStandIn((2, 2, 1, 0.2)), 1, 'score'),
        (NodeStandIn((2, 2, 1, 0.4), (2, 2, 2, 0.6)), 1, 'one class per cell'),
        (NodeStandIn((6, 6, 1, 0.6)), 40, 'cap of 32 points per pillar'),
        (NodeStandIn((6, 6, 1, 0.6)), 30, 'other'),
        (NodeStandIn((2, 2, 1, 0.6), yaw=np.pi), 1, 'opposite heading'),
    ],
)
def test_a_missing_object_has_a_reason(node: Any, points: int, reason: str):
    agreement = compare(node, points=points)
    assert (agreement.matched, dict(agreement.reasons)) == (0, {reason: 1})
    assert str(agreement).endswith(f'({reason}: 1)')
    assert agreement.fraction == 0


def test_a_suppressed_object_has_a_reason():
    node = NodeStandIn((2, 2, 0, 0.4), (3, 2, 2, 0.6))
    node.maps['dim'][:] = 0.5
    agreement = compare(node, label=0)
    assert dict(agreement.reasons) == {'suppressed by another object': 1}
