# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Types of the detection head: classes, maps that describe objects by cell, and objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError

# Names of the classes, by the index of their heatmap.
CLASSES = ('vehicle', 'pedestrian', 'cyclist')
# Largest overlap of two objects of a class, seen from above.
MAX_IOU = 0.3


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


def check_min_scores(min_scores: Sequence[float]) -> None:
    """Checks the lowest scores of reported objects.

    Raises:
        TinyBevError: there is not one score for each class.
    """
    if len(min_scores) != len(CLASSES):
        raise TinyBevError(
            f'min_scores are {len(min_scores)}; expected {len(CLASSES)}, one for each class'
        )
