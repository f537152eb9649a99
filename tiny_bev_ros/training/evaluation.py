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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from tiny_bev_ros.models.heads.box_ops import iou_3d, iou_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.kitti import IMAGE_SIZE, Calibration, KittiFolder, KittiObject
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame

MIN_IOUS = (0.25, 0.5, 0.7)
_VIEWS = {'bev': iou_bev, '3d': iou_3d}
# Fraction of a detection that must lie in an unlabelled area for the detection to be left out.
_IN_AREA = 0.5
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


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
    inside: _Area
    dont_care: _Area


class _Area:
    """Area that holds every box, or none."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """Returns (N,) bool: true for boxes (N,7) in the area."""
        return np.full(len(boxes), self._answer)


class _View(_Area):
    """Field of view of a camera, up to a distance ahead."""

    def __init__(self, calibration: Calibration, reach: float) -> None:
        self._calibration, self._reach = calibration, reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        return self._calibration.in_image(boxes[:, :3]) & (boxes[:, 0] < self._reach)


class _Unlabelled(_Area):
    """Rectangles of an image in which objects are not labelled."""

    def __init__(self, calibration: Calibration, areas: np.ndarray) -> None:
        self._calibration, self._areas = calibration, areas

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        rectangles = np.array([self._rectangle(box) for box in boxes]).reshape(-1, 4)
        low = np.maximum(rectangles[:, None, :2], self._areas[None, :, :2])
        high = np.minimum(rectangles[:, None, 2:], self._areas[None, :, 2:])
        overlap = (high - low).clip(0).prod(axis=2)
        own = (rectangles[:, 2:] - rectangles[:, :2]).prod(axis=1)
        return (overlap > _IN_AREA * own[:, None]).any(axis=1)

    def _rectangle(self, box: np.ndarray) -> np.ndarray:
        corners = _CORNERS * box[3:6]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        pixels, _ = self._calibration.pixels(corners @ rotation.T + box[:3])
        pixels = pixels.clip(0, IMAGE_SIZE)
        return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def kitti_eval_frames(folder: KittiFolder, reach: float = 50.0) -> Iterator[EvalFrame]:
    """Yields the frames of a KITTI folder for evaluation.

    Sets of objects are the difficulties of the benchmark, and ``visible``: objects of at least
    five points. Vans, trucks and trams, which resemble cars, and sitting people, who resemble
    pedestrians, are not required.

    Args:
        folder: the folder.
        reach: distance ahead in metres up to which objects have to be detected.
    """
    for name in folder.names:
        frame, calibration = folder.frame(name), folder.calibration(name)
        labels = folder.objects(name)
        objects = [label for label in labels if label.kind != 'DontCare']
        areas = [label.image_box for label in labels if label.kind == 'DontCare']
        view = _View(calibration, reach)
        near = (
            np.array([label.box[0] < reach for label in objects], np.bool_)
            if objects
            else np.zeros(0, np.bool_)
        )
        truths = {
            level: [_kitti_truth(objects, frame, near, level, kind) for kind in CLASSES]
            for level in ('visible', 'easy', 'moderate', 'hard')
        }
        unlabelled = _Unlabelled(calibration, np.array(areas).reshape(-1, 4))
        yield EvalFrame(name, frame, truths, view, unlabelled)


_KITTI_KINDS = {
    'vehicle': ('Car', ('Van', 'Truck', 'Tram', 'Misc')),
    'pedestrian': ('Pedestrian', ('Person_sitting',)),
    'cyclist': ('Cyclist', ()),
}


def _kitti_truth(
    objects: list[KittiObject], frame: Frame, near: np.ndarray, level: str, kind: str
) -> Truth:
    own, others = _KITTI_KINDS[kind]
    levels = ('easy', 'moderate', 'hard')
    boxes, required = [], []
    for label, points, is_near in zip(objects, frame.counts, near, strict=True):
        if label.kind != own and label.kind not in others:
            continue
        if level == 'visible':
            is_required = points >= MIN_POINTS
        else:
            is_required = label.difficulty() <= levels.index(level)
        boxes.append(label.box)
        required.append(label.kind == own and is_required and is_near)
    return Truth(np.array(boxes, np.float32).reshape(-1, 7), np.array(required, np.bool_))


def simulated_eval_frame(name: str, frame: Frame, reach: float = 50.0) -> EvalFrame:
    """Converts a simulated frame to a frame for evaluation.

    Args:
        name: name of the frame.
        frame: the frame; objects of fewer than five points are not required.
        reach: distance in metres along x and y up to which objects have to be detected.
    """
    far = np.abs(frame.boxes[:, :2]).max(axis=1, initial=0) >= reach
    truths = []
    for label in range(len(CLASSES)):
        of_class = frame.labels == label
        required = (frame.counts >= MIN_POINTS) & ~far
        truths.append(Truth(frame.boxes[of_class], required[of_class]))
    return EvalFrame(name, frame, {'visible': truths}, _Square(reach), _Area(answer=False))


class _Square(_Area):
    """Square around the sensor."""

    def __init__(self, reach: float) -> None:
        self._reach = reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        return np.abs(boxes[:, :2]).max(axis=1, initial=0) < self._reach


def count_errors(frame: EvalFrame, detections: Detections) -> tuple[int, np.ndarray]:
    """Counts the wrong and the missed objects of one frame.

    Takes the first set of objects, at a BEV IoU of 0.5 for vehicles and 0.25 for other classes.

    Returns:
        Number of wrong detections and missed objects, and (M,7) boxes of the missed objects.
    """
    wrong, missed = 0, [np.empty((0, 7), np.float32)]
    boxes = detections.boxes.numpy()
    inside, dont_care = frame.inside(boxes), frame.dont_care(boxes)
    for label, truth in enumerate(next(iter(frame.truths.values()))):
        chosen = inside & (detections.labels.numpy() == label)
        iou = iou_bev(detections.boxes[chosen], torch.from_numpy(truth.boxes)).numpy()
        min_iou = MIN_IOUS[1] if label == 0 else MIN_IOUS[0]
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
        intersection: cells that are predicted and labelled as drivable.
        union: cells that are predicted or labelled as drivable.
        frames: number of frames.
    """

    rankings: dict[tuple[str, str, str, float], Ranking] = field(default_factory=dict)
    intersection: int = 0
    union: int = 0
    frames: int = 0

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
        self.intersection += int((predicted & drivable & known).sum())
        self.union += int(((predicted | drivable) & known).sum())

    @property
    def drivable_iou(self) -> float:
        """IoU of the drivable area over all frames; NaN if none is known."""
        return self.intersection / self.union if self.union else float('nan')

    def table(self) -> Iterable[tuple[str, str, str, float, int, float]]:
        """Yields set, class, view, smallest IoU, number of objects and average precision."""
        for (level, kind, view, min_iou), ranking in self.rankings.items():
            yield level, kind, view, min_iou, ranking.positives, ranking.average_precision()
