# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training targets and loss of the detection head."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, logsigmoid

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps

# Standard deviation of the Gaussians in the heatmaps, in metres, by class.
_SIGMA = (0.55, 0.4, 0.45)
# Radius around a centre within which cells learn the box, in metres, by class: small for people,
# who walk close to each other.
_BOX_RADIUS = (1.0, 0.55, 0.7)
# Margins in metres: around a box, within which cells get targets, and around an ignored box,
# within which cells are left out of the loss.
_WINDOW_MARGIN, _IGNORED_MARGIN = 2.0, 0.3
_BOX_WEIGHT = 2.0
# Weight of z beside the other values of a box: it is learnt last, as the first convolutions lose
# most of the height without this weight.
_Z_WEIGHT = 3.0
_HEADING_WEIGHT = 0.2


class DetectionTargets(NamedTuple):
    """Targets of one frame, or of a batch when stacked.

    Attributes:
        heatmap: (K,h,w) float32, 1 at the centre of an object, lower around it.
        heatmap_mask: (K,h,w) bool, true for cells whose heatmap is in the loss.
        box: (9,h,w) offset x, y, z, log of length, width, height, sine and cosine of twice the
            yaw, and 1 where the cosine of the yaw is positive.
        box_mask: (h,w) float32, 1 for cells whose box is in the loss.
        num_objects: () float32, number of centres on the map.
    """

    heatmap: Tensor
    heatmap_mask: Tensor
    box: Tensor
    box_mask: Tensor
    num_objects: Tensor


def make_targets(
    boxes: Tensor, labels: Tensor, ignored: Tensor, grid: BevGrid
) -> DetectionTargets:
    """Draws the targets of the labelled objects of one frame.

    Args:
        boxes: (N,7) float32.
        labels: (N,) int64, index into CLASSES.
        ignored: (N,) bool, true for objects that are neither required nor counted as wrong where
            they are detected.
        grid: grid of the maps.
    """
    rows, cols = grid.shape
    heatmap = torch.zeros(len(CLASSES), rows, cols)
    heatmap_mask = torch.ones(len(CLASSES), rows, cols, dtype=torch.bool)
    box = torch.zeros(9, rows, cols)
    box_mask = torch.zeros(rows, cols)
    # Squared distance from each cell to the centre of the box that it is assigned to so far.
    nearest = torch.full((rows, cols), math.inf)
    x = grid.x_axis.centre(torch.arange(cols, dtype=torch.float32))
    y = grid.y_axis.centre(torch.arange(rows, dtype=torch.float32))
    num_objects = 0
    for target, label, ignore in zip(boxes, labels.tolist(), ignored.tolist(), strict=True):
        window = _window(target, grid)
        if window is None:
            continue
        dx, dy = target[0] - x[window[1]][None, :], target[1] - y[window[0]][:, None]
        square = dx**2 + dy**2
        if ignore:
            along, across = _in_box_frame(dx, dy, target[6])
            inside = (along.abs() <= target[3] / 2 + _IGNORED_MARGIN) & (
                across.abs() <= target[4] / 2 + _IGNORED_MARGIN
            )
            heatmap_mask[:, window[0], window[1]] &= ~inside
            continue
        gaussian = torch.exp(-square / (2 * _SIGMA[label] ** 2))
        # Exactly 1 in the cell that holds the centre, so that each object has its peak.
        gaussian[(dx.abs() <= grid.resolution / 2) & (dy.abs() <= grid.resolution / 2)] = 1
        num_objects += bool((gaussian == 1).any())
        region = heatmap[label][window]
        region.copy_(torch.maximum(region, gaussian))
        assigned = (square < _BOX_RADIUS[label] ** 2) & (square < nearest[window])
        nearest[window] = torch.where(assigned, square, nearest[window])
        box_mask[window] = torch.where(assigned, 1.0, box_mask[window])
        values = _box_values(target, dx / grid.resolution, dy / grid.resolution)
        region = box[:, window[0], window[1]]
        region.copy_(torch.where(assigned, values, region))
    return DetectionTargets(heatmap, heatmap_mask, box, box_mask, torch.tensor(float(num_objects)))


def detection_loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
    """Computes the parts of the loss, whose sum is minimised.

    The heatmaps have the focal loss of Law and Deng, "CornerNet", ECCV 2018, over the number of
    objects; the boxes L1 over their cells.

    Args:
        maps: predictions for a batch.
        targets: stacked targets of the same batch.
    """
    num_objects = targets.num_objects.sum().clamp(min=1)
    focal = _focal(maps.heatmap, targets.heatmap, targets.heatmap_mask)
    return {'heatmap': focal / num_objects, **_box_loss(maps, targets)}


def _focal(logits: Tensor, heatmap: Tensor, mask: Tensor) -> Tensor:
    score = logits.sigmoid()
    peak = heatmap == 1
    positive = -logsigmoid(logits) * (1 - score) ** 2
    negative = -logsigmoid(-logits) * score**2 * (1 - heatmap) ** 4
    return (torch.where(peak, positive, negative) * mask).sum()


def _box_loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
    mask = targets.box_mask[:, None]
    cells = mask.sum().clamp(min=1)
    predicted = torch.cat([maps.offset, maps.z, maps.log_size, maps.axis], dim=1)
    distance = l1_loss(predicted, targets.box[:, :8], reduction='none')
    distance = distance * distance.new_tensor([1, 1, _Z_WEIGHT, 1, 1, 1, 1, 1])[:, None, None]
    heading = binary_cross_entropy_with_logits(
        maps.heading_sign, targets.box[:, 8:], reduction='none'
    )
    return {
        'box': _BOX_WEIGHT * (distance * mask).sum() / cells / 4,
        'heading_sign': _HEADING_WEIGHT * (heading * mask).sum() / cells,
    }


def _window(box: Tensor, grid: BevGrid) -> tuple[slice, slice] | None:
    """Returns rows and columns around a box; None where it lies off the map."""
    corners = corners_bev(box[None])[0]
    low = corners.amin(dim=0) - _WINDOW_MARGIN
    high = corners.amax(dim=0) + _WINDOW_MARGIN
    rows, cols = grid.shape
    first_col = max(0, int(grid.x_axis.index(float(low[0]))))
    last_col = min(cols, int(grid.x_axis.index(float(high[0]))) + 1)
    first_row = max(0, int(grid.y_axis.index(float(low[1]))))
    last_row = min(rows, int(grid.y_axis.index(float(high[1]))) + 1)
    if first_col >= last_col or first_row >= last_row:
        return None
    return slice(first_row, last_row), slice(first_col, last_col)


def _in_box_frame(dx: Tensor, dy: Tensor, yaw: Tensor) -> tuple[Tensor, Tensor]:
    """Returns offsets along and across a box, from offsets in x and y."""
    return dx * yaw.cos() + dy * yaw.sin(), dy * yaw.cos() - dx * yaw.sin()


def _box_values(box: Tensor, offset_x: Tensor, offset_y: Tensor) -> Tensor:
    """Returns (9,h,w) target values of one box in the cells of its window."""
    yaw = box[6]
    constant = [
        box[2],
        *box[3:6].log(),
        (2 * yaw).sin(),
        (2 * yaw).cos(),
        (yaw.cos() > 0).to(box.dtype),
    ]
    shape = torch.broadcast_shapes(offset_x.shape, offset_y.shape)
    return torch.stack(
        [offset_x.expand(shape), offset_y.expand(shape), *(v.expand(shape) for v in constant)]
    )
