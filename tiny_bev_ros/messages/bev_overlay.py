# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points, boxes and drivable area drawn over an image of BEV features."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections

# Side of a cell in pixels.
SCALE = 4
_ROAD, _ROAD_OPACITY = np.array([60, 200, 90]), 0.45
_POINT = np.array([255, 255, 255], np.uint8)


def draw_overlay(
    image: np.ndarray,
    y_axis: Axis,
    x_axis: Axis,
    *,
    points: np.ndarray | None = None,
    drivable: np.ndarray | None = None,
    detections: Detections | None = None,
) -> np.ndarray:
    """Returns a larger image with points, drivable area and boxes drawn into it.

    Args:
        image: (W,H,3) uint8 of `render_bev_image`.
        y_axis: axis of the columns of the image, which begin at its upper end.
        x_axis: axis of the rows, which begin at its upper end.
        points: (N,2) x and y in metres of cells with points.
        drivable: (H,W) probability of road surface of each cell.
        detections: objects whose boxes are drawn.

    Returns:
        (SCALE * W, SCALE * H, 3) uint8.
    """
    large = image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    if drivable is not None:
        road = (drivable >= 0.5).T[::-1, ::-1].repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        large[road] = large[road] * (1 - _ROAD_OPACITY) + _ROAD * _ROAD_OPACITY
    if points is not None:
        _draw_points(large, points, y_axis, x_axis, _POINT)
    if detections is not None:
        corners = corners_bev(detections.boxes).numpy()
        for box, four, label in zip(
            detections.boxes.numpy(), corners, detections.labels.tolist(), strict=True
        ):
            colour = (np.array(CLASS_COLOURS[CLASSES[label]]) * 255).astype(np.uint8)
            ahead = box[:2] + np.array([np.cos(box[6]), np.sin(box[6])]) * box[3] / 2
            ends = [*zip(four, np.roll(four, -1, axis=0), strict=True), (box[:2], ahead)]
            for begin, end in ends:
                _draw_points(
                    large, _points_on_line(begin, end, x_axis.step / SCALE), y_axis, x_axis, colour
                )
    return large


def _points_on_line(begin: np.ndarray, end: np.ndarray, step: float) -> np.ndarray:
    count = max(2, int(np.linalg.norm(end - begin) / step * 1.5))
    return begin + np.linspace(0, 1, count)[:, None] * (end - begin)


def _draw_points(
    large: np.ndarray, points: np.ndarray, y_axis: Axis, x_axis: Axis, colour: np.ndarray
) -> None:
    height, width = large.shape[:2]
    row = height - 1 - np.floor((points[:, 0] - x_axis.origin) / x_axis.step * SCALE).astype(int)
    col = width - 1 - np.floor((points[:, 1] - y_axis.origin) / y_axis.step * SCALE).astype(int)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    large[row[inside], col[inside]] = colour
