# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Accuracy of detections and drivable areas over many frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tiny_bev_ros.models.heads.box_ops import iou_3d, iou_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame

MIN_IOUS = (0.25, 0.5, 0.7)
# Smallest BEV IoU of a hit, by class: lower for small objects.
HIT_IOUS = (0.5, 0.25, 0.25)
_VIEWS = {'bev': iou_bev, '3d': iou_3d}


@dataclass(frozen=True)
class Truth:
    """Labelled objects of one frame and class.

    Attributes:
        boxes: (M,7) float32.
        required: (M,) bool, true for objects that have to be detected; detections of the others
            are left out.
    """

    boxes: np.ndarray
    required: np.ndarray


@dataclass(frozen=True)
class EvalFrame:
    """One frame for evaluation, with its labelled objects.

    Attributes:
        name: name of the frame.
        lidar: the labelled cloud.
        truths: labelled objects of each class, by set of objects, such as a difficulty.
        inside: area in which objects are labelled; detections elsewhere are left out.
        dont_care: area in which detections that match no object are left out.
    """

    name: str
    lidar: Frame
    truths: dict[str, list[Truth]]
    inside: Area
    dont_care: Area


class Area:
    """Area that holds every box, or none."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """Returns (N,) bool: true for boxes (N,7) in the area."""
        return np.full(len(boxes), self._answer)


class Square(Area):
    """Square around the sensor, up to a reach in metres along x and y."""

    def __init__(self, reach: float) -> None:
        self._reach = reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """Returns (N,) bool: true for boxes (N,7) in the area."""
        return np.abs(boxes[:, :2]).max(axis=1, initial=0) < self._reach


class Disc(Area):
    """Disc around the sensor, of a radius in metres."""

    def __init__(self, radius: float) -> None:
        self._radius = radius

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """Returns (N,) bool: true for boxes (N,7) in the area."""
        return np.hypot(boxes[:, 0], boxes[:, 1]) < self._radius


def simulated_eval_frame(name: str, frame: Frame, reach: float = 50.0) -> EvalFrame:
    """Converts a simulated frame to a frame for evaluation; see `sweep_eval_frame`."""
    return sweep_eval_frame(name, frame, Square(reach))


def sweep_eval_frame(
    name: str, frame: Frame, area: Area, resembles: np.ndarray | bool = False
) -> EvalFrame:
    """Converts a sweep that is labelled on all sides to a frame for evaluation.

    Args:
        name: name of the frame.
        frame: the frame; objects of fewer than five points are not required.
        area: area in which objects have to be detected.
        resembles: (O,) bool, true for objects that only resemble their class, such as trailers;
            detections of them are left out.
    """
    required = (frame.counts >= MIN_POINTS) & area(frame.boxes) & ~np.asarray(resembles)
    truths = []
    for label in range(len(CLASSES)):
        of_class = frame.labels == label
        truths.append(Truth(frame.boxes[of_class], required[of_class]))
    return EvalFrame(name, frame, {'visible': truths}, area, Area(answer=False))


def count_errors(frame: EvalFrame, detections: Detections) -> tuple[int, np.ndarray]:
    """Counts the wrong and the missed objects of one frame.

    Takes the first set of objects, at the BEV IoU of HIT_IOUS.

    Returns:
        Number of wrong detections and missed objects, and (M,7) boxes of the missed objects.
    """
    wrong, missed = 0, [np.empty((0, 7), np.float32)]
    boxes = detections.boxes.numpy()
    inside, dont_care = frame.inside(boxes), frame.dont_care(boxes)
    for label, truth in enumerate(next(iter(frame.truths.values()))):
        chosen = inside & (detections.labels.numpy() == label)
        iou = iou_bev(detections.boxes[chosen], torch.from_numpy(truth.boxes)).numpy()
        min_iou = HIT_IOUS[label]
        outcome = Ranking().add(
            detections.scores.numpy()[chosen], iou, truth.required, min_iou, dont_care[chosen]
        )
        wrong += int((outcome == 0).sum())
        hit = (iou >= min_iou).any(axis=0) if len(iou) else np.zeros(len(truth.boxes), np.bool_)
        missed.append(truth.boxes[truth.required & ~hit])
    missed_boxes = np.concatenate(missed)
    return wrong + len(missed_boxes), missed_boxes


@dataclass
class Score:
    """Accuracy of a network, collected frame after frame.

    Attributes:
        rankings: detections by set of objects, class, view ('bev' or '3d') and smallest IoU.
        areas: for each frame with a known road, number of cells that are predicted and labelled
            as drivable, and that are predicted or labelled as drivable.
        frames: number of frames.
    """

    rankings: dict[tuple[str, str, str, float], Ranking] = field(default_factory=dict)
    areas: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0

    @classmethod
    def pooled(cls, scores: Sequence[Score], level: str) -> Score:
        """Returns one set of objects of several scores as one, frames after frames."""
        pooled = cls(frames=sum(score.frames for score in scores))
        for key in scores[0].rankings:
            if key[0] == level:
                pooled.rankings[key] = Ranking.pooled(score.rankings[key] for score in scores)
        pooled.areas = [area for score in scores for area in score.areas]
        return pooled

    def add(self, frame: EvalFrame, detections: Detections) -> None:
        """Adds the detections of one frame."""
        self.frames += 1
        all_boxes = detections.boxes.cpu().numpy()
        inside, dont_care = frame.inside(all_boxes), frame.dont_care(all_boxes)
        labels, scores = detections.labels.cpu().numpy(), detections.scores.cpu().numpy()
        for label, kind in enumerate(CLASSES):
            chosen = inside & (labels == label)
            boxes = torch.from_numpy(all_boxes[chosen])
            for level, truths in frame.truths.items():
                truth = truths[label]
                for view, measure in _VIEWS.items():
                    iou = measure(boxes, torch.from_numpy(truth.boxes)).numpy()
                    for min_iou in MIN_IOUS:
                        key = (level, kind, view, min_iou)
                        ranking = self.rankings.setdefault(key, Ranking())
                        ranking.add(
                            scores[chosen], iou, truth.required, min_iou, dont_care[chosen]
                        )

    def add_area(self, predicted: np.ndarray, drivable: np.ndarray, known: np.ndarray) -> None:
        """Adds the drivable area of one frame.

        Args:
            predicted: (h,w) bool, true for cells that are predicted as drivable.
            drivable: (h,w) bool, true for cells that are labelled as drivable.
            known: (h,w) bool, true for cells that count.
        """
        both, either = predicted & drivable & known, (predicted | drivable) & known
        self.areas.append((int(both.sum()), int(either.sum())))

    @property
    def drivable_iou(self) -> float:
        """IoU of the drivable area over all frames; NaN if none is known."""
        both, either = np.array(self.areas).reshape(-1, 2).sum(axis=0)
        return float(both / either) if either else float('nan')

    def hits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns scores and hits of the detections by class, at the BEV IoU of HIT_IOUS.

        Takes the first set of objects; hits are bool, and detections that are neither right nor
        wrong are left out.
        """
        if not self.rankings:
            return {}
        level = next(iter(self.rankings))[0]
        return {
            kind: self.rankings[level, kind, 'bev', min_iou].detections()
            for kind, min_iou in zip(CLASSES, HIT_IOUS, strict=True)
        }

    def table(self) -> Iterable[tuple[str, str, str, float, int, float]]:
        """Yields set, class, view, smallest IoU, number of objects and average precision."""
        for (level, kind, view, min_iou), ranking in self.rankings.items():
            yield level, kind, view, min_iou, ranking.positives, ranking.average_precision()
