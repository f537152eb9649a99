# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""RefinementHead: fits detected boxes, and their scores, to the points near them.

The network is a PointNet (Qi et al., "PointNet: Deep Learning on Point Sets for 3D Classification
and Segmentation", CVPR 2017) on the points near a box, as in LiDAR R-CNN (Li et al., "LiDAR R-CNN:
An Efficient and Universal 3D Object Detector", CVPR 2021).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiny_bev_ros.models.heads.box_crops import BoxCrops, crop_axes
from tiny_bev_ros.models.heads.box_residuals import NUM_RESIDUALS, apply_residuals
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.models.heads.head_registry import BoxHead, register_head
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration

REFINEMENT = 'refinement'
# Lowest score of the objects that the second stage takes, as it may raise scores.
MIN_CANDIDATE_SCORE = 0.02
# Distances of scores from 0 and 1 at which logits end.
_SCORE_MARGIN = 0.002
# Input values of a box: class, first score, distance and direction of the sensor,
# length, width, height, number of points, and the side of the sensor, ahead or behind.
_BOX_VALUES = len(CLASSES) + 9
# Position of a point in metres, and as a fraction of the sides of the box.
_POINT_VALUES = 6


class RefinementOutputs(NamedTuple):
    """Predictions for N boxes.

    Attributes:
        residuals: (N,7), see `apply_residuals`.
        quality: (N,) logit of the overlap with the object after the change, 0 for no object.
    """

    residuals: Tensor
    quality: Tensor


@register_head(REFINEMENT)
class RefinementHead(BoxHead):
    """Learned second stage: seven residuals and a quality for each box.

    Args:
        point_channels: number of channels of the hidden layers on points.
        pooled_channels: number of channels of which the maximum over the points is taken.
        box_channels: number of channels of the first hidden layer on boxes.

    Attributes:
        calibration: calibration of the final scores.
    """

    def __init__(
        self, point_channels: int = 64, pooled_channels: int = 128, box_channels: int = 128
    ) -> None:
        super().__init__()
        self.embed_points = nn.Linear(_POINT_VALUES, point_channels, bias=False)
        self.embed_boxes = nn.Linear(_BOX_VALUES, point_channels)
        self.points = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Linear(point_channels, point_channels),
            nn.BatchNorm1d(point_channels),
            nn.ReLU(inplace=True),
            nn.Linear(point_channels, pooled_channels),
            nn.BatchNorm1d(pooled_channels),
        )
        last = nn.Linear(96, NUM_RESIDUALS + 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.boxes = nn.Sequential(
            nn.Linear(pooled_channels + _BOX_VALUES, box_channels),
            nn.BatchNorm1d(box_channels),
            nn.ReLU(),
            nn.Linear(box_channels, 96),
            nn.ReLU(),
            last,
        )
        self.calibration = ScoreCalibration()

    def forward(self, crops: BoxCrops, detections: Detections) -> Detections:
        """Returns the objects with changed boxes and scores, in the given order."""
        residuals, quality = self.predict(crops, detections)
        boxes = apply_residuals(detections.boxes, residuals)
        scores = self.calibration.of_labels(quality, detections.labels)
        return Detections(boxes, scores, detections.labels)

    def predict(self, crops: BoxCrops, detections: Detections) -> RefinementOutputs:
        """Computes residuals and quality of each object; arguments as for `forward`."""
        values = _box_values(crops.counts, detections)
        box = torch.repeat_interleave(crops.counts)
        sides = detections.boxes[:, 3:6].index_select(0, box)
        points = torch.cat([crops.points, crops.points / sides], 1)
        pooled = self.pool(points, box, self.embed_boxes(values))
        outputs = self.boxes(torch.cat([pooled, values], 1))
        return RefinementOutputs(outputs[:, :NUM_RESIDUALS], outputs[:, NUM_RESIDUALS])

    def pool(self, points: Tensor, box: Tensor, embedded: Tensor) -> Tensor:
        """Computes the largest values (N,C) of the points of each box; 0 without points.

        Args:
            points: (M,6) positions in metres, and as fractions of the sides of the box.
            box: (M,) int64 index of the box of each point.
            embedded: (N,c) embedding of each box.
        """
        hidden = self.embed_points(points)
        hidden += embedded.index_select(0, box)
        values = self.points(hidden)
        largest = values.new_zeros(len(embedded), values.shape[1])
        index = box[:, None].expand_as(values)
        return largest.scatter_reduce(0, index, values, 'amax', include_self=False)


def _box_values(counts: Tensor, detections: Detections) -> Tensor:
    """Computes the input values (N,_BOX_VALUES) of boxes."""
    boxes, scores, labels = detections
    axes = crop_axes(boxes)
    distance = boxes[:, :2].norm(dim=1)
    # Both are 0 or more, as the axes point to the sensor's side.
    direction = -(axes * boxes[:, None, :2]).sum(2) / distance.clamp(min=1e-3)[:, None]
    heading = torch.stack([boxes[:, 6].cos(), boxes[:, 6].sin()], 1)
    logit = scores.clamp(_SCORE_MARGIN, 1 - _SCORE_MARGIN).logit()
    return torch.cat(
        [
            nn.functional.one_hot(labels, len(CLASSES)).to(boxes.dtype),
            (logit / 2)[:, None],
            (distance / 30)[:, None],
            direction,
            boxes[:, 3:6] / boxes.new_tensor([4.0, 2.0, 2.0]),
            (counts.to(boxes.dtype).log1p() / 4)[:, None],
            (axes[:, 0] * heading).sum(1, keepdim=True),
        ],
        1,
    )
