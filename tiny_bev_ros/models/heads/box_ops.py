# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Operations on boxes: corners, overlap, non-maximum suppression.

A box is [x, y, z, length, width, height, yaw]: centre and sides in metres, the length along the
heading, which turns counter-clockwise from x, in radians.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Tolerance for lengths around a metre, in the float64 in which polygons are clipped.
_EPSILON = 1e-9


def corners_bev(boxes: Tensor) -> Tensor:
    """Computes (N,4,2) corners in x and y of (N,7) boxes, counter-clockwise."""
    sign = boxes.new_tensor([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    local = sign * boxes[:, None, 3:5]
    cos, sin = boxes[:, 6].cos()[:, None], boxes[:, 6].sin()[:, None]
    x = cos * local[..., 0] - sin * local[..., 1]
    y = sin * local[..., 0] + cos * local[..., 1]
    return torch.stack([x, y], dim=2) + boxes[:, None, :2]


def overlap_bev(first: Tensor, second: Tensor) -> Tensor:
    """Computes the areas in m^2 in which N and M boxes overlap in BEV.

    Args:
        first: (N,7) boxes.
        second: (M,7) boxes.

    Returns:
        (N,M) areas, in the dtype of the boxes.
    """
    areas = first.new_zeros(len(first), len(second))
    reach = (first[:, 3:5].norm(dim=1)[:, None] + second[:, 3:5].norm(dim=1)) / 2
    # Matrix products, which cdist takes for many boxes, lose precision far from the origin.
    away = torch.cdist(first[:, :2], second[:, :2], compute_mode='donot_use_mm_for_euclid_dist')
    # All points would count as inside of a box without sides.
    near = (away < reach) & (first[:, 3:5].prod(1) > 0)[:, None] & (second[:, 3:5].prod(1) > 0)
    i, j = near.nonzero(as_tuple=True)
    if len(i):
        # Relative to the first box, so that no precision is lost far from the origin.
        centre = first[i, :2].double()[:, None]
        one = corners_bev(first.double())[i] - centre
        other = corners_bev(second.double())[j] - centre
        areas[i, j] = _shared_area(one, other).to(areas.dtype)
    return areas


def iou_bev(first: Tensor, second: Tensor) -> Tensor:
    """Computes (N,M) intersection over union in BEV of (N,7) and (M,7) boxes."""
    shared = overlap_bev(first, second)
    area = first[:, 3] * first[:, 4]
    both = area[:, None] + second[:, 3] * second[:, 4] - shared
    return shared / both.clamp(min=_EPSILON)


def iou_3d(first: Tensor, second: Tensor) -> Tensor:
    """Computes (N,M) intersection over union of the volumes of (N,7) and (M,7) boxes."""
    low = torch.maximum((first[:, 2] - first[:, 5] / 2)[:, None], second[:, 2] - second[:, 5] / 2)
    high = torch.minimum((first[:, 2] + first[:, 5] / 2)[:, None], second[:, 2] + second[:, 5] / 2)
    shared = overlap_bev(first, second) * (high - low).clamp(min=0)
    both = first[:, 3:6].prod(dim=1)[:, None] + second[:, 3:6].prod(dim=1) - shared
    return shared / both.clamp(min=_EPSILON)


def paired_iou_bev(first: Tensor, second: Tensor) -> Tensor:
    """Computes (N,) intersection over union in BEV of N pairs of boxes, (N,7) each."""
    centre = first[:, None, :2].double()
    one, other = (corners_bev(boxes.double()) - centre for boxes in (first, second))
    shared = _shared_area(one, other).to(first.dtype)
    both = first[:, 3:5].prod(1) + second[:, 3:5].prod(1) - shared
    return shared / both.clamp(min=_EPSILON)


def nms_bev(boxes: Tensor, scores: Tensor, labels: Tensor, max_iou: float) -> Tensor:
    """Applies non-maximum suppression to rotated boxes, separately for each class.

    Args:
        boxes: (N,7) boxes.
        scores: (N,) scores.
        labels: (N,) classes.
        max_iou: largest BEV IoU; where two boxes of a class exceed it, the one of
            lower score is removed.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    suppresses = (iou_bev(boxes, boxes) > max_iou) & (labels[:, None] == labels)
    # On the CPU, as each step depends on the one before.
    kept: list[int] = []
    removed = torch.zeros(len(boxes), dtype=torch.bool)
    for index, row in enumerate(suppresses.cpu()):
        if not removed[index]:
            kept.append(index)
            removed |= row
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]


def _shared_area(one: Tensor, other: Tensor) -> Tensor:
    """Computes (K,) areas of the intersections of quadrangles, (K,4,2) counter-clockwise corners.

    The corners of an intersection are the corners of each quadrangle inside the other and the
    crossings of edges; sorted by angle around their mean they form a convex polygon.
    """
    crossings, crossed = _crossings(one, other)
    points = torch.cat([one, other, crossings], dim=1)
    valid = torch.cat([_inside(one, other), _inside(other, one), crossed], dim=1)
    count = valid.sum(dim=1)
    weight = valid.to(points.dtype)[..., None]
    mean = (points * weight).sum(dim=1) / count.clamp(min=1)[:, None]
    points = points - mean[:, None]
    angle = torch.atan2(points[..., 1], points[..., 0])
    order = angle.masked_fill(~valid, math.inf).argsort(dim=1)
    points = points.gather(1, order[..., None].expand_as(points))
    # Invalid points come last; replaced by the first, they add no area.
    index = torch.arange(points.shape[1], device=points.device)
    points = torch.where((index < count[:, None])[..., None], points, points[:, :1])
    x, y = points[..., 0], points[..., 1]
    area = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(dim=1) / 2
    return area.clamp(min=0) * (count >= 3)


def _inside(points: Tensor, polygon: Tensor) -> Tensor:
    """Returns (K,P) bool: true for points (K,P,2) in, or on edges of, quadrangles (K,4,2)."""
    edge = polygon.roll(-1, 1) - polygon
    to_point = points[:, :, None] - polygon[:, None]
    cross = edge[:, None, :, 0] * to_point[..., 1] - edge[:, None, :, 1] * to_point[..., 0]
    return (cross >= -_EPSILON).all(dim=2)


def _crossings(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Returns crossings of the edges of two quadrangles: points (K,16,2), and (K,16) if valid."""
    edge, other_edge = one.roll(-1, 1) - one, other.roll(-1, 1) - other
    edge, other_edge = edge[:, :, None], other_edge[:, None]
    gap = other[:, None] - one[:, :, None]
    cross = _cross(edge, other_edge)
    parallel = cross.abs() < _EPSILON
    divisor = torch.where(parallel, torch.ones_like(cross), cross)
    along, across = _cross(gap, other_edge) / divisor, _cross(gap, edge) / divisor
    crossed = ~parallel & (along >= 0) & (along <= 1) & (across >= 0) & (across <= 1)
    points = one[:, :, None] + along[..., None] * edge
    return points.flatten(1, 2), crossed.flatten(1, 2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
