# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Non-maximum suppression of rotated boxes, without a table of all pairs."""

from __future__ import annotations

import math

import numpy as np

from tiny_bev_ros.numba_jit import compiler

_jit = compiler()
# Most corners of the intersection of two quadrangles, each edge of which adds one at most.
_MAX_CORNERS = 8
# Smallest area of a union, as in `iou_bev`.
_MIN_AREA = np.float32(1e-9)


@_jit
def suppress(
    boxes: np.ndarray, labels: np.ndarray, max_iou: float, corners: np.ndarray, kept: np.ndarray
) -> int:
    """Lists the boxes that remain of each class, as `nms_bev` does.

    Args:
        boxes: (N, 7) float32, best first.
        labels: (N,) int64 classes.
        max_iou: largest BEV IoU of two boxes of a class, float32.
        corners: (N, 4, 2) float64 x and y of the corners, counter-clockwise; from `find_corners`.
        kept: (N,) int64; receives the indices of the boxes that remain.

    Returns:
        Number of these indices.
    """
    removed = np.zeros(len(boxes), np.bool_)
    half, area = np.empty(len(boxes), np.float32), np.empty(len(boxes), np.float32)
    for i in range(len(boxes)):
        length, width = boxes[i, 3], boxes[i, 4]
        area[i] = length * width
        half[i] = math.sqrt(length * length + width * width) / np.float32(2)
    work = np.empty((2, _MAX_CORNERS, 2), np.float64)
    count = 0
    for i in range(len(boxes)):
        if removed[i]:
            continue
        kept[count] = i
        count += 1
        for j in range(i + 1, len(boxes)):
            # Without area there is no overlap, as in `overlap_bev`.
            if removed[j] or labels[i] != labels[j] or not min(area[i], area[j]) > 0:
                continue
            x, y, reach = boxes[i, 0] - boxes[j, 0], boxes[i, 1] - boxes[j, 1], half[i] + half[j]
            if not x * x + y * y < reach * reach:
                continue
            shared = np.float32(_shared_area(corners[i], corners[j], work))
            both = area[i] + area[j] - shared
            removed[j] = shared / max(both, _MIN_AREA) > max_iou
    return count


@_jit
def find_corners(boxes: np.ndarray, corners: np.ndarray) -> None:
    """Computes corners (N, 4, 2) float64, as `corners_bev` does, of boxes (N, 7) float32."""
    for i in range(len(boxes)):
        cos, sin = math.cos(np.float64(boxes[i, 6])), math.sin(np.float64(boxes[i, 6]))
        along, across = np.float64(boxes[i, 3]) / 2, np.float64(boxes[i, 4]) / 2
        for corner in range(4):
            # Counter-clockwise from the front left: (+, +), (-, +), (-, -), (+, -).
            a = along if corner in (0, 3) else -along
            b = across if corner < 2 else -across
            corners[i, corner, 0] = boxes[i, 0] + (cos * a - sin * b)
            corners[i, corner, 1] = boxes[i, 1] + (sin * a + cos * b)


@_jit
def _shared_area(one: np.ndarray, other: np.ndarray, work: np.ndarray) -> float:
    """Computes the area of the intersection of two convex quadrangles.

    Each edge of ``other`` cuts off the part of the polygon beyond it (Sutherland and Hodgman,
    "Reentrant Polygon Clipping", 1974).

    Args:
        one: (4, 2) corners, counter-clockwise.
        other: (4, 2) corners, counter-clockwise.
        work: (2, 8, 2) memory for polygons.
    """
    # Relative to a corner, so that no precision is lost far from the origin.
    x, y = one[0, 0], one[0, 1]
    count = 4
    for i in range(4):
        work[0, i, 0], work[0, i, 1] = one[i, 0] - x, one[i, 1] - y
    source = 0
    for edge in range(4):
        ax, ay = other[edge, 0] - x, other[edge, 1] - y
        ex, ey = other[(edge + 1) % 4, 0] - x - ax, other[(edge + 1) % 4, 1] - y - ay
        before, after = work[source], work[1 - source]
        found = 0
        for i in range(count):
            j = i + 1 if i + 1 < count else 0
            px, py, qx, qy = before[i, 0], before[i, 1], before[j, 0], before[j, 1]
            p_side = ex * (py - ay) - ey * (px - ax)
            q_side = ex * (qy - ay) - ey * (qx - ax)
            if p_side >= 0:
                after[found, 0], after[found, 1] = px, py
                found += 1
            if (p_side >= 0) != (q_side >= 0):
                along = p_side / (p_side - q_side)
                after[found, 0] = px + along * (qx - px)
                after[found, 1] = py + along * (qy - py)
                found += 1
        count, source = found, 1 - source
    area = 0.0
    polygon = work[source]
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        area += polygon[i, 0] * polygon[j, 1] - polygon[i, 1] * polygon[j, 0]
    return max(area / 2, 0.0)
