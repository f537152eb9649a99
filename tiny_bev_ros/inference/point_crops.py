# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Crops of a cloud near boxes, by a compiled kernel where numba can be used."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.models.heads.box_crops import CROP, BoxCrops, CropShape, crop_axes

# Side of the cells of the map of boxes, in metres, and most cells along an axis.
_CELL, _MAX_CELLS = 1.0, 512


def crop_points(points: np.ndarray, boxes: Tensor, shape: CropShape = CROP) -> BoxCrops:
    """Finds the points near each box, and of many a sample; equal inputs give equal crops.

    The points of a box are first those of the object, then those around it.

    Args:
        points: (P,3) or more values float32 x, y, z, ..., finite, in the frame of the boxes.
        boxes: (N,7) float32 on the CPU; x and y relative to the sensor.
        shape: which points are near, and how many are kept.
    """
    frames = box_frames(boxes, shape)
    crop = _plain_crop if numba_unavailable_reason() else _compiled_crop
    gathered, counts = crop(points, frames, shape)
    return BoxCrops(torch.from_numpy(gathered), torch.from_numpy(counts))


def box_frames(boxes: Tensor, shape: CropShape) -> np.ndarray:
    """Computes the frames of boxes as the kernels take them.

    Returns:
        (N,11) float32: origin x, y, z; the axes along and across, x and y of each; half the length
        and half the width with the margin; half the height, and the same with the margin.
    """
    half = boxes[:, 3:6] / 2
    bottom = boxes[:, 2:3] - half[:, 2:]
    reach = half[:, :2] + shape.margin, half[:, 2:], half[:, 2:] + shape.height_margin
    return torch.cat([boxes[:, :2], bottom, crop_axes(boxes).flatten(1), *reach], 1).numpy()


def _compiled_crop(
    points: np.ndarray, frames: np.ndarray, shape: CropShape
) -> tuple[np.ndarray, np.ndarray]:
    from tiny_bev_ros.inference.kernels import crop_kernels as kernels  # imports numba

    of_map, sizes = _map_of(frames), (shape.object_points, shape.surrounding_points)
    selected = np.empty((len(frames), sum(sizes)), np.int32)
    counts = np.zeros((len(frames), 2), np.int64)
    lists = kernels.list_boxes(frames, *of_map)
    kernels.select_points(
        points, frames, *of_map, *lists, _object_limits(shape), selected, sizes[0], counts
    )
    np.minimum(counts, sizes, out=counts)
    gathered = np.empty((int(counts.sum()), 3), np.float32)
    kernels.gather_points(points, frames, selected, sizes[0], counts, gathered)
    return gathered, counts.sum(axis=1)


def _object_limits(shape: CropShape) -> tuple[np.float32, np.float32]:
    """Returns `object_limits` of the kernel; float32, so that both ways round alike."""
    return np.float32(shape.margin - shape.object_margin), np.float32(shape.object_floor)


def _map_of(frames: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Returns lower corner, side of a cell and cells along x and y of a map of all boxes."""
    reach = np.hypot(frames[:, 7], frames[:, 8])[:, None]
    known = np.isfinite(frames).all(axis=1)
    centre, reach = frames[known, :2].astype(np.float64), reach[known]
    if not len(centre):
        return np.zeros(2), _CELL, (0, 0)
    low, high = (centre - reach).min(axis=0), (centre + reach).max(axis=0)
    side = max(_CELL, float((high - low).max()) / _MAX_CELLS)
    x, y = (math.ceil(cells) for cells in (high - low) / side)
    return low, side, (x, y)


def _plain_crop(
    points: np.ndarray, frames: np.ndarray, shape: CropShape
) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(points[:, 0], kind='stable')
    sorted_x = points[order, 0]
    counts = np.zeros(len(frames), np.int64)
    gathered = [np.empty((0, 3), np.float32)]
    inset, floor = _object_limits(shape)
    for box, frame in enumerate(frames):
        reach = np.hypot(frame[7], frame[8]) * np.float32(1.001)
        first, last = np.searchsorted(sorted_x, [frame[0] - reach, frame[0] + reach])
        near = points[np.sort(order[first:last]), :3]
        dx, dy, up = (near - frame[:3]).T
        along, across = dx * frame[3] + dy * frame[4], dx * frame[5] + dy * frame[6]
        inside = (np.abs(along) < frame[7]) & (np.abs(across) < frame[8])
        inside &= np.abs(up - frame[9]) < frame[10]
        on_object = (np.abs(along) < frame[7] - inset) & (np.abs(across) < frame[8] - inset)
        on_object &= up > floor
        crop = np.stack([along, across, up], 1)
        for part, size in (
            (crop[inside & on_object], shape.object_points),
            (crop[inside & ~on_object], shape.surrounding_points),
        ):
            gathered.append(part[sample_indices(len(part), size)])
            counts[box] += len(gathered[-1])
    return np.concatenate(gathered), counts


def sample_indices(count: int, size: int) -> np.ndarray:
    """Returns the indices of the sample that `select_points` takes of ``count`` points."""
    kept = np.arange(min(count, size))
    number = np.arange(size, max(count, size), dtype=np.uint64)
    h = number ^ (number >> np.uint64(16))
    h = (h * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    h = (h * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    slot = ((h * (number + np.uint64(1))) >> np.uint64(32)).astype(np.int64)
    for index in np.nonzero(slot < size)[0]:  # a later point replaces an earlier one
        kept[slot[index]] = size + index
    return kept
