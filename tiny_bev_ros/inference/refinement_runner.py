# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs the second stage: boxes and scores of detected objects by the points near them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from tiny_bev_ros.inference.fast_nms import fast_nms
from tiny_bev_ros.inference.point_crops import crop_points
from tiny_bev_ros.models.heads.detection import CLASSES, MAX_IOU, Detections, check_min_scores
from tiny_bev_ros.models.heads.head_registry import BoxHead
from tiny_bev_ros.models.heads.refinement import MIN_CANDIDATE_SCORE, RefinementHead


class RefinementRunner:
    """Runs the second stage on the objects of the detection head.

    It computes on the CPU in float32, also where the other networks run on another device: points
    and decoded objects are on the host already, and the way to the device and back would be a
    further wait for the device.

    Args:
        head: the second stage, which is copied.
    """

    def __init__(self, head: BoxHead) -> None:
        self._head = fold_linear_norms(copy.deepcopy(head).float().cpu().eval())
        if isinstance(self._head, RefinementHead):
            self._head.pool = _BufferedPool(self._head)  # type: ignore[method-assign]

    @property
    def candidate_scores(self) -> tuple[float, ...]:
        """Lowest first scores of the objects that are refined, for each class.

        They do not depend on the scores of reported objects, which are those of the second stage.
        """
        return (MIN_CANDIDATE_SCORE,) * len(CLASSES)

    @torch.inference_mode()
    def __call__(
        self,
        detections: Detections,
        points: np.ndarray,
        min_scores: tuple[float, ...],
        reference: tuple[float, float] = (0.0, 0.0),
        sensor: tuple[float, float] = (0.0, 0.0),
    ) -> Detections:
        """Returns the refined objects, best first.

        Args:
            detections: objects with first scores of `candidate_scores` or more.
            points: (P,4) or (P,5) float32 [x, y, z, ...], finite, x and y relative to
                ``reference``.
            min_scores: lowest score of a reported object, for each class.
            reference: x and y in the frame of the objects, in metres.
            sensor: x and y of the sensor, relative to ``reference``, in metres.

        Raises:
            TinyBevError: there is not one score for each class.
        """
        check_min_scores(min_scores)
        # The second stage takes positions from the sensor.
        origin = (reference[0] + sensor[0], reference[1] + sensor[1])
        boxes = _shifted(detections.boxes, origin, -1)
        if any(sensor):
            points = points[:, :3] - np.array([*sensor, 0], np.float32)
        crops = crop_points(points, boxes)
        boxes, scores, labels = self._head(crops, detections._replace(boxes=boxes))
        kept = scores >= scores.new_tensor(min_scores)[labels]
        best = scores[kept].argsort(descending=True, stable=True)
        boxes, scores, labels = (each[kept][best] for each in (boxes, scores, labels))
        # Two boxes near one object are both fitted to it.
        apart = fast_nms(boxes, scores, labels, MAX_IOU)
        boxes, scores, labels = (each[apart] for each in (boxes, scores, labels))
        return Detections(_shifted(boxes, origin, 1), scores, labels)

    def warm_up(self) -> None:
        """Refines a box, so that the first frame is not late."""
        box = torch.tensor([[5.0, 0, 0, 4, 2, 1.5, 0]])
        one = Detections(box, torch.ones(1), torch.zeros(1, dtype=torch.long))
        self(one, np.zeros((8, 4), np.float32), (0.0,) * 3)


class _BufferedPool:
    """`RefinementHead.pool` in blocks of points, in buffers that stay in the cache of a core.

    Allocating the values of all points takes longer than computing them: the allocator returns
    blocks of that size to the system, and each page of a new one is a page fault.

    Args:
        head: second stage with folded norms.
    """

    _BLOCK = 1024

    def __init__(self, head: RefinementHead) -> None:
        _, second, _, _, third, _ = head.points
        assert isinstance(second, nn.Linear) and isinstance(third, nn.Linear)
        layers = head.embed_points, second, third
        self._weights = [layer.weight.detach().t().contiguous() for layer in layers]
        self._second_bias, self._third_bias = second.bias.detach(), third.bias.detach()
        self._hidden = [torch.empty(self._BLOCK, each.shape[1]) for each in self._weights]

    def __call__(self, points: Tensor, box: Tensor, embedded: Tensor) -> Tensor:
        largest = points.new_full((len(embedded), len(self._third_bias)), -torch.inf)
        for begin in range(0, len(points), self._BLOCK):
            block, boxes = points[begin : begin + self._BLOCK], box[begin : begin + self._BLOCK]
            first, second, third = (each[: len(block)] for each in self._hidden)
            torch.index_select(embedded, 0, boxes, out=first)
            first.addmm_(block, self._weights[0]).relu_()
            torch.mm(first, self._weights[1], out=second).add_(self._second_bias).relu_()
            torch.mm(second, self._weights[2], out=third)
            largest.scatter_reduce_(0, boxes[:, None].expand_as(third), third, 'amax')
        return torch.where(largest == -torch.inf, 0.0, largest + self._third_bias)


def fold_linear_norms(module: nn.Module) -> nn.Module:
    """Folds batch norms that follow a linear layer in a Sequential; returns the module itself."""
    for child in module.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for index in range(len(child) - 1):
            linear, norm = child[index], child[index + 1]
            if isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                child[index] = fuse_linear_bn_eval(linear, norm)
                child[index + 1] = nn.Identity()
    return module


def _shifted(boxes: Tensor, by: tuple[float, float], sign: int) -> Tensor:
    if not any(by):
        return boxes
    position = boxes[:, :2].double() + sign * torch.tensor(by, dtype=torch.float64)
    return torch.cat([position.float(), boxes[:, 2:]], 1)
