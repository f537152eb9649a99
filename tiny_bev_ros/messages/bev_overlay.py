# SPDX-License-Identifier: Apache-2.0
"""Points, boxes and drivable area over the picture of a feature map."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections

# Pixels along each side of a cell.
SCALE = 4
_ROAD, _ROAD_SHARE = np.array([60, 200, 90]), 0.45
_POINT = np.array([255, 255, 255], np.uint8)


def overlay(
    picture: np.ndarray,
    y_axis: Axis,
    x_axis: Axis,
    *,
    places: np.ndarray | None = None,
    drivable: np.ndarray | None = None,
    found: Detections | None = None,
) -> np.ndarray:
    """A larger picture with what was seen drawn into it.

    Args:
        picture: (W,H,3) uint8 of `bev_image`.
        y_axis: of the columns of the picture, which begin at its upper end.
        x_axis: of the rows, in the same way.
        places: (N,2) x and y of what points fill, in metres.
        drivable: (H,W) probability of road surface, of the cells of the picture.
        found: objects.

    Returns:
        (SCALE * W, SCALE * H, 3) uint8.
    """
    large = picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    if drivable is not None:
        road = (drivable >= 0.5).T[::-1, ::-1].repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        large[road] = large[road] * (1 - _ROAD_SHARE) + _ROAD * _ROAD_SHARE
    if places is not None:
        _dots(large, places, y_axis, x_axis, _POINT)
    if found is not None:
        corners = corners_bev(found.boxes).numpy()
        for box, four, label in zip(
            found.boxes.numpy(), corners, found.labels.tolist(), strict=True
        ):
            colour = (np.array(CLASS_COLOURS[CLASSES[label]]) * 255).astype(np.uint8)
            ahead = box[:2] + np.array([np.cos(box[6]), np.sin(box[6])]) * box[3] / 2
            ends = [*zip(four, np.roll(four, -1, axis=0), strict=True), (box[:2], ahead)]
            for begin, end in ends:
                _dots(large, _line(begin, end, x_axis.step / SCALE), y_axis, x_axis, colour)
    return large


def _line(begin: np.ndarray, end: np.ndarray, step: float) -> np.ndarray:
    count = max(2, int(np.linalg.norm(end - begin) / step * 1.5))
    return begin + np.linspace(0, 1, count)[:, None] * (end - begin)


def _dots(
    large: np.ndarray, places: np.ndarray, y_axis: Axis, x_axis: Axis, colour: np.ndarray
) -> None:
    height, width = large.shape[:2]
    row = height - 1 - np.floor((places[:, 0] - x_axis.origin) / x_axis.step * SCALE).astype(int)
    col = width - 1 - np.floor((places[:, 1] - y_axis.origin) / y_axis.step * SCALE).astype(int)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    large[row[inside], col[inside]] = colour
