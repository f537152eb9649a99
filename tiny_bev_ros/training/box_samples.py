# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Samples for the second stage: boxes that trained networks detect, and the points near them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.point_crops import box_frames, crop_points
from tiny_bev_ros.models.heads.box_crops import CROP, CropShape
from tiny_bev_ros.models.heads.box_ops import iou_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame

# States of a box: on an object, on none, or on an object of too few points to be required.
OBJECT, NOTHING, IGNORED = 1, 0, -1
# Crops that are stored, of which each step takes some points: more of them, and from farther away
# than those of the second stage, as boxes are moved at random. The floor is that of the second
# stage: points of the ground would leave little room for those of the object.
STORED = CropShape(
    margin=CROP.margin + 0.4,
    height_margin=CROP.height_margin + 0.3,
    object_margin=CROP.object_margin + 0.3,
    object_floor=CROP.object_floor,
    object_points=192,
    surrounding_points=80,
)
# Smallest IoU at which a box is on an object, and, by class, the distance in metres that suffices.
_MIN_IOU = 0.15
_NEAR = (1.2, 0.9, 0.9)


class BoxSamples(NamedTuple):
    """N detected boxes with their points, box after box.

    Attributes:
        boxes: (N,7) float32 detected boxes, in the frame of the sensor.
        scores: (N,) float32 first scores.
        labels: (N,) int64 classes.
        wanted: (N,7) float32 box of the object on which a box is; 0 for none.
        states: (N,) int64 OBJECT, NOTHING or IGNORED.
        points: (M,3) float32 points, in the frame of the sensor.
        counts: (N,) int64 number of points of each box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    wanted: Tensor
    states: Tensor
    points: Tensor
    counts: Tensor


def make_box_samples(frame: Frame, detections: Detections) -> BoxSamples:
    """Makes the samples of the objects that were detected in a frame."""
    boxes = detections.boxes
    crops = crop_points(frame.points, boxes, STORED)
    frames = torch.from_numpy(box_frames(boxes, STORED))
    frames = frames.repeat_interleave(crops.counts, 0)
    along, across, up = crops.points.split(1, 1)
    position = frames[:, :2] + along * frames[:, 3:5] + across * frames[:, 5:7]
    points = torch.cat([position, frames[:, 2:3] + up], 1)
    return BoxSamples(*detections, *_assign(frame, detections), points, crops.counts)


def join_samples(samples: Sequence[BoxSamples]) -> BoxSamples:
    """Joins the samples of several frames."""
    return BoxSamples(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


def _assign(frame: Frame, detections: Detections) -> tuple[Tensor, Tensor]:
    """Returns the objects on which boxes are (N,7), and the states of the boxes (N,)."""
    wanted = torch.zeros(len(detections.boxes), 7)
    states = torch.full((len(wanted),), NOTHING)
    required = torch.from_numpy(frame.counts >= MIN_POINTS)
    for label in range(len(CLASSES)):
        own = (detections.labels == label).nonzero()[:, 0]
        objects = torch.from_numpy(np.nonzero(frame.labels == label)[0])
        if not len(own) or not len(objects):
            continue
        truth = torch.from_numpy(frame.boxes)[objects]
        iou = iou_bev(detections.boxes[own], truth)
        distance = (detections.boxes[own, None, :2] - truth[:, :2]).norm(dim=2)
        best = (iou - 0.01 * distance).argmax(1, keepdim=True)
        on = (iou.gather(1, best) > _MIN_IOU) | (distance.gather(1, best) < _NEAR[label])
        own, best = own[on[:, 0]], best[on[:, 0], 0]
        wanted[own] = truth[best]
        states[own] = torch.where(required[objects[best]], OBJECT, IGNORED)
    return wanted, states
