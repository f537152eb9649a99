# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import matplotlib.image
import numpy as np

from tiny_bev_ros.demo.cloud_figure import Overlay, draw
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.detections import DetectionBoxes
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels

LABELS = TensorLabels((1, 0), 'lidar', Axis(-10, 0.5), Axis(0, 0.5))
FEATURES = BevTensor(np.random.default_rng(0).random((1, 4, 40, 60), np.float32), LABELS)
POINTS = np.random.default_rng(1).uniform((0, -10, -2, 0), (30, 10, 1, 1), (300, 4))


def drawn(tmp_path, overlay):
    draw(POINTS.astype(np.float32), FEATURES, 'title', tmp_path / 'x.png', overlay)
    return matplotlib.image.imread(tmp_path / 'x.png')[..., :3]


def differences(one, other):
    """Rows and columns of differing pixels, as fractions of the height and width."""
    rows, cols = np.nonzero(np.abs(one - other).max(axis=2) > 0.1)
    return rows / one.shape[0], cols / one.shape[1]


def test_everything_is_drawn_at_its_position(tmp_path):
    bare = drawn(tmp_path, None)
    assert (bare == drawn(tmp_path, Overlay())).all()
    area = np.full((40, 60), 100, np.int8)
    area[:20] = 0  # y from -10 to 0: the right half of the left panel
    _, cols = differences(bare, drawn(tmp_path, Overlay(area=area)))
    assert len(cols) > 1000
    assert np.percentile(cols, 5) > 0.24
    assert cols.max() < 0.5
    # A car far ahead, on the left.
    boxes = np.array([[26, 7, -1, 4, 2, 1.5, 0.3]], np.float32)
    found = DetectionBoxes(boxes, np.array([0.9], np.float32), ['vehicle'], LABELS)
    for overlay in (Overlay(objects=found), Overlay(labels=boxes)):
        rows, cols = differences(bare, drawn(tmp_path, overlay))
        upper = rows < 0.5
        assert upper.sum() > 30
        assert cols[upper].max() < 0.25


def test_unknown_cells_are_no_road():
    from tiny_bev_ros.demo.cloud_figure import _tint

    tint = _tint(np.array([[0, 100], [-1, 49]]))
    road, unknown = tint[1, 1], tint[1, 0]
    assert road[3] > 0 and unknown[3] > 0
    assert not np.array_equal(road, unknown)
    np.testing.assert_array_equal(tint[0, 0], road)
    assert tint[0, 1, 3] == 0
