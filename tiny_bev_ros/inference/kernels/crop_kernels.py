# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points near boxes in one pass over the cloud."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.numba_jit import compiler

_jit = compiler(error_model='numpy')
# Half of the diagonal of a square of side 1, rounded up.
_HALF_DIAGONAL = 0.7072
_LOW_BITS = np.uint64(0xFFFFFFFF)


@_jit
def list_boxes(
    frames: np.ndarray, low: np.ndarray, side: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Lists the boxes that each cell of a map meets.

    Args:
        frames: (N, 11) float32 from `box_frames`.
        low: (2,) float64 lower corner of the map, in metres.
        side: side of a cell, in metres.
        shape: number of cells along x and y.

    Returns:
        (X * Y + 1,) int32 ends of the lists of the cells, after a 0, and the lists.
    """
    ends = np.zeros(shape[0] * shape[1] + 1, np.int32)
    listed = np.empty(0, np.int32)
    # The first pass counts, the second one lists.
    for listing in range(2):
        for box in range(len(frames)):
            frame = frames[box]
            half = np.array(
                [
                    abs(frame[3] * frame[7]) + abs(frame[5] * frame[8]),
                    abs(frame[4] * frame[7]) + abs(frame[6] * frame[8]),
                ]
            )
            first = np.floor((frame[:2] - half - low) / side)
            last = np.floor((frame[:2] + half - low) / side)
            for x in range(max(first[0], 0), min(last[0], shape[0] - 1) + 1):
                for y in range(max(first[1], 0), min(last[1], shape[1] - 1) + 1):
                    dx = low[0] + (x + 0.5) * side - frame[0]
                    dy = low[1] + (y + 0.5) * side - frame[1]
                    along = abs(dx * frame[3] + dy * frame[4])
                    across = abs(dx * frame[5] + dy * frame[6])
                    reach = side * _HALF_DIAGONAL
                    if along > frame[7] + reach or across > frame[8] + reach:
                        continue
                    cell = x * shape[1] + y
                    if listing:
                        ends[cell] -= 1
                        listed[ends[cell]] = box
                    else:
                        ends[cell] += 1
        if not listing:
            total = 0
            for cell in range(len(ends)):
                total += ends[cell]
                ends[cell] = total
            listed = np.empty(total, np.int32)
    return ends, listed


@_jit
def select_points(
    points: np.ndarray,
    frames: np.ndarray,
    low: np.ndarray,
    side: float,
    shape: tuple[int, int],
    ends: np.ndarray,
    listed: np.ndarray,
    object_limits: tuple[float, float],
    selected: np.ndarray,
    first_surrounding: int,
    counts: np.ndarray,
) -> None:
    """Selects the points near each box, on the object and around it: samples where there are many.

    Each sample is Vitter's algorithm R ("Random Sampling with a Reservoir", 1985) with a hash in
    place of random numbers, so that equal clouds give equal samples.

    Args:
        points: (P, >= 3) float32 x, y, z, ...
        frames: (N, 11) float32 from `box_frames`.
        low: as for `list_boxes`.
        side: as for `list_boxes`.
        shape: as for `list_boxes`.
        ends: ends of the lists of boxes, from `list_boxes`.
        listed: boxes of each cell, from `list_boxes`.
        object_limits: distance by which the region of the object is narrower than that of the
            near points on each side, and height above the bottom at which it begins, in metres.
        selected: (N, K) int32; receives the indices of the selected points of the object, and from
            column ``first_surrounding`` on those around it.
        first_surrounding: first column of the points around the object, which is also the number
            of points of the object at most.
        counts: (N, 2) int64, all 0; receives the numbers of points of the object and around it.
    """
    inset, floor = object_limits
    inverse = 1.0 / side
    for i in range(len(points)):
        x = (points[i, 0] - low[0]) * inverse
        y = (points[i, 1] - low[1]) * inverse
        if not (0 <= x < shape[0] and 0 <= y < shape[1]):
            continue
        cell = np.int64(x) * shape[1] + np.int64(y)
        for k in range(ends[cell], ends[cell + 1]):
            # Elements one by one: a view of the row would be counted as a reference each time.
            box = listed[k]
            dx, dy = points[i, 0] - frames[box, 0], points[i, 1] - frames[box, 1]
            up = points[i, 2] - frames[box, 2]
            along = dx * frames[box, 3] + dy * frames[box, 4]
            across = dx * frames[box, 5] + dy * frames[box, 6]
            if not (abs(along) < frames[box, 7] and abs(across) < frames[box, 8]):
                continue
            if not (abs(up - frames[box, 9]) < frames[box, 10]):
                continue
            first, size, part = first_surrounding, selected.shape[1] - first_surrounding, 1
            if (
                up > floor
                and abs(along) < frames[box, 7] - inset
                and abs(across) < frames[box, 8] - inset
            ):
                first, size, part = 0, first_surrounding, 0
            slot = counts[box, part]
            counts[box, part] += 1
            if slot >= size:
                slot = _random_slot(slot)
            if slot < size:
                selected[box, first + slot] = i


@_jit
def gather_points(
    points: np.ndarray,
    frames: np.ndarray,
    selected: np.ndarray,
    first_surrounding: int,
    counts: np.ndarray,
    gathered: np.ndarray,
) -> None:
    """Computes the positions of selected points in the frames of their boxes.

    Args:
        points: (P, >= 3) float32 x, y, z, ...
        frames: (N, 11) float32 from `box_frames`.
        selected: (N, K) indices from `select_points`.
        first_surrounding: as for `select_points`.
        counts: (N, 2) int64 numbers of selected points of the object and around it.
        gathered: (M, 3) float32; receives the positions, box after box.
    """
    row = 0
    for box in range(len(frames)):
        frame = frames[box]
        for part in range(2):
            for k in range(counts[box, part]):
                i = selected[box, part * first_surrounding + k]
                dx, dy = points[i, 0] - frame[0], points[i, 1] - frame[1]
                gathered[row, 0] = dx * frame[3] + dy * frame[4]
                gathered[row, 1] = dx * frame[5] + dy * frame[6]
                gathered[row, 2] = points[i, 2] - frame[2]
                row += 1


@_jit
def _random_slot(count: int) -> int:
    """Returns a number from 0 to ``count`` that depends on ``count`` alone, as if by chance.

    The last step of MurmurHash3 (Appleby, 2011), scaled.
    """
    h = np.uint64(count)
    h ^= h >> np.uint64(16)
    h = (h * np.uint64(0x85EBCA6B)) & _LOW_BITS
    h ^= h >> np.uint64(13)
    h = (h * np.uint64(0xC2B2AE35)) & _LOW_BITS
    h ^= h >> np.uint64(16)
    return np.int64((h * np.uint64(count + 1)) >> np.uint64(32))
