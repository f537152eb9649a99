# SPDX-License-Identifier: Apache-2.0
"""Detections: the maps that describe objects by cell, and the boxes decoded from their peaks.

Yin, Zhou and Krahenbuhl, "Center-based 3D Object Detection and Tracking", CVPR 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.box_ops import nms_bev

# Names of the classes, by the index of their heatmap.
CLASSES = ('vehicle', 'pedestrian', 'cyclist')
# Largest number of peaks that are decoded; no map holds more objects.
_MAX_PEAKS = 500
# Largest logarithm of a side, 55 m: an untrained network may predict any number.
_MAX_LOG_SIZE = 4


class DetectionMaps(NamedTuple):
    """Predictions of the detection head for each cell of a map (h,w).

    Attributes:
        heatmap: (B,K,h,w) logits that the centre of an object of each class lies in the cell.
        offset: (B,2,h,w) x and y from the cell's centre to the object's, in cells.
        z: (B,1,h,w) height of the centre in metres.
        log_size: (B,3,h,w) logarithm of length, width and height in metres.
        axis: (B,2,h,w) sine and cosine of twice the yaw: the line along which the object lies.
        heading_sign: (B,1,h,w) logit that the yaw is in (-pi/2, pi/2], its cosine positive.
    """

    heatmap: Tensor
    offset: Tensor
    z: Tensor
    log_size: Tensor
    axis: Tensor
    heading_sign: Tensor


class Detections(NamedTuple):
    """Objects of one frame, best first.

    Attributes:
        boxes: (N,7) float32 x, y, z, length, width, height, yaw; metres and radians.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, index into CLASSES.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def decode(
    maps: DetectionMaps, grid: BevGrid, min_scores: tuple[float, ...], max_iou: float = 0.15
) -> list[Detections]:
    """Decodes the objects of each frame.

    A cell is a peak where its score is not below those of its eight neighbours; among overlapping
    boxes of one class the best is kept.

    Args:
        maps: output of the head.
        grid: grid of the maps, which is coarser than that of the pseudo-image.
        min_scores: lowest score of a reported object, for each class.
        max_iou: largest BEV IoU of two objects of a class.

    Raises:
        TinyBevError: the grid is of another size, or there is not one score for each class.
    """
    if tuple(maps.heatmap.shape[-2:]) != grid.shape:
        raise TinyBevError(
            f'maps are {tuple(maps.heatmap.shape[-2:])} cells; expected {grid.shape}, as the grid'
        )
    if len(min_scores) != maps.heatmap.shape[1]:
        raise TinyBevError(
            f'min_scores are {len(min_scores)}; expected {maps.heatmap.shape[1]}, '
            'one for each class'
        )
    scores = maps.heatmap.sigmoid()
    lowest = scores.new_tensor(min_scores)[:, None, None]
    peak = (scores == max_pool2d(scores, 3, stride=1, padding=1)) & (scores >= lowest)
    return [
        _decode_frame(
            DetectionMaps(*(tensor[frame] for tensor in maps)),
            scores[frame],
            peak[frame],
            grid,
            max_iou,
        )
        for frame in range(len(scores))
    ]


def _decode_frame(
    maps: DetectionMaps, scores: Tensor, peak: Tensor, grid: BevGrid, max_iou: float
) -> Detections:
    label, row, col = peak.nonzero(as_tuple=True)
    scores = scores[label, row, col]
    if len(scores) > _MAX_PEAKS:
        scores, best = scores.topk(_MAX_PEAKS)
        label, row, col = label[best], row[best], col[best]
    offset, z, log_size, axis, heading_sign = (tensor[:, row, col] for tensor in maps[1:])
    yaw = torch.atan2(axis[0], axis[1]) / 2
    yaw = torch.where(heading_sign[0] >= 0, yaw, yaw + torch.pi)
    yaw = torch.where(yaw > torch.pi, yaw - 2 * torch.pi, yaw)
    x = grid.x_axis.centre(col + offset[0])
    y = grid.y_axis.centre(row + offset[1])
    size = log_size.clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE).exp()
    boxes = torch.stack([x, y, z[0], *size, yaw], dim=1).float()
    kept = nms_bev(boxes, scores, label, max_iou)
    return Detections(boxes[kept], scores[kept], label[kept])
