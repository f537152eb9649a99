# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Frames of a KITTI folder for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.training.evaluation import Area, EvalFrame, Square, Truth
from tiny_bev_ros.training.kitti import IMAGE_SIZE, Calibration, KittiFolder, KittiObject
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame

# Fraction of a detection that must lie in an unlabelled area for the detection to be left out.
_IN_AREA = 0.5
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_KITTI_KINDS = {
    'vehicle': ('Car', ('Van', 'Truck', 'Tram', 'Misc')),
    'pedestrian': ('Pedestrian', ('Person_sitting',)),
    'cyclist': ('Cyclist', ()),
}


class _View(Area):
    """Field of view of a camera, up to a distance ahead."""

    def __init__(self, calibration: Calibration, reach: float) -> None:
        self._calibration, self._reach = calibration, reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        return self._calibration.in_image(boxes[:, :3]) & (boxes[:, 0] < self._reach)


class _Unlabelled(Area):
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

    Sets of objects are the difficulties of the benchmark, which need boxes in the image, and
    ``visible``: objects of at least five points. Vans, trucks and trams, which resemble cars, and
    sitting people, who resemble pedestrians, are not required.

    Args:
        folder: the folder.
        reach: distance in metres up to which objects have to be detected: ahead, or, where there
            is no camera, along x and y.
    """
    for name in folder.names:
        frame, calibration = folder.frame(name), folder.calibration(name)
        labels = folder.objects(name)
        objects = [label for label in labels if label.kind != 'DontCare']
        areas = [label.image_box for label in labels if label.kind == 'DontCare']
        boxes = np.array([label.box for label in objects]).reshape(-1, 7)
        square = Square(reach)
        near = boxes[:, 0] < reach if calibration.has_camera else square(boxes)
        truths = {
            level: [_kitti_truth(objects, frame, near, level, kind) for kind in CLASSES]
            for level in ('visible', 'easy', 'moderate', 'hard')
        }
        if calibration.has_camera:
            unlabelled = _Unlabelled(calibration, np.array(areas).reshape(-1, 4))
            yield EvalFrame(name, frame, truths, _View(calibration, reach), unlabelled)
        else:
            yield EvalFrame(name, frame, truths, square, Area(False))


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
