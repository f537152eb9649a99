# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Augmentation of labelled clouds: points, boxes and road change together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.training.labelled_frame import Frame, in_box

# Number of points up to which an object is not cut, as too few would remain.
_MIN_POINTS_TO_CUT = 30


@dataclass(frozen=True)
class Augmentation:
    """Limits of the random changes to which training frames are subjected.

    Attributes:
        any_angle: fraction of the crops of whole frames that are first rotated about z by any
            angle; x of the others points along the road, ahead or back.
        rotation: largest angle of rotation about z, in radians.
        scaling: largest change of size, as a fraction.
        z_jitter: standard deviation of the shift along z, in metres.
        point_dropout: largest fraction of the points that is dropped.
        part_dropout: probability that a slice of an object's points is dropped.
        view_crop: probability that only the points in a camera's field of view are kept.
    """

    any_angle: float = 0.6
    rotation: float = 0.4
    scaling: float = 0.07
    z_jitter: float = 0.3
    point_dropout: float = 0.4
    part_dropout: float = 0.15
    view_crop: float = 0.25


def transform(frame: Frame, angle: float, scale: float = 1.0, z_shift: float = 0.0) -> Frame:
    """Rotates a frame about z, scales it, then shifts it along z.

    Args:
        frame: the frame, which is not changed.
        angle: angle in radians, counter-clockwise.
        scale: factor of all lengths.
        z_shift: shift along z, in metres.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = (np.array([[cos, sin], [-sin, cos]]) * scale).astype(np.float32)
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :2] = points[:, :2] @ matrix
    points[:, 2] = points[:, 2] * scale + z_shift
    boxes[:, :2] = boxes[:, :2] @ matrix
    boxes[:, 2] = boxes[:, 2] * scale + z_shift
    boxes[:, 3:6] *= scale
    boxes[:, 6] = (boxes[:, 6] + angle + np.pi) % (2 * np.pi) - np.pi
    road = frame.road and frame.road.transformed(matrix.T.astype(np.float64))
    return replace(frame, points=points, boxes=boxes, road=road)


def mirror(frame: Frame) -> Frame:
    """Exchanges left and right."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, 1] *= -1
    boxes[:, [1, 6]] *= -1
    road = frame.road and frame.road.transformed(np.diag([1.0, -1.0]))
    return replace(frame, points=points, boxes=boxes, road=road)


def choose_heading(frame: Frame, random: np.random.Generator, any_angle: float) -> Frame:
    """Rotates a whole frame so that x points along the road, or anywhere.

    Args:
        frame: the frame, returned as it is if it is not whole.
        random: source of the angle.
        any_angle: probability of any angle.
    """
    anywhere = random.random() < any_angle
    angle = random.uniform(0, 2 * np.pi) if anywhere else random.choice([0.0, np.pi])
    return transform(frame, float(angle)) if angle and frame.whole else frame


def augment(frame: Frame, random: np.random.Generator, limits: Augmentation) -> Frame:
    """Mirrors, rotates, scales and shifts a frame at random, and drops some of its points."""
    if random.random() < 0.5:
        frame = mirror(frame)
    frame = transform(
        frame,
        random.uniform(-limits.rotation, limits.rotation),
        1 + random.uniform(-limits.scaling, limits.scaling),
        random.normal(0, limits.z_jitter),
    )
    points = frame.points
    fraction = random.random(len(points))
    kept = fraction >= random.uniform(0, limits.point_dropout) * (random.random() < 0.5)
    if random.random() < limits.view_crop:
        kept &= np.abs(np.arctan2(points[:, 1], points[:, 0])) < random.uniform(0.6, 0.9)
    kept &= ~_dropped_parts(frame, random, limits.part_dropout)
    return replace(frame, points=points[kept], instance_ids=frame.instance_ids[kept])


def _dropped_parts(frame: Frame, random: np.random.Generator, probability: float) -> np.ndarray:
    """(N,) bool: true for points in the slices of objects that are hidden."""
    hidden = np.zeros(len(frame.points), np.bool_)
    chosen = (random.random(len(frame.boxes)) < probability) & (frame.counts > _MIN_POINTS_TO_CUT)
    for index in np.nonzero(chosen)[0]:
        box = frame.boxes[index].copy()
        fraction, sign = random.uniform(0.15, 0.6), random.choice([-1, 1])
        axis = random.integers(0, 2)
        shift = sign * box[3 + axis] * (1 - fraction) / 2
        heading = box[6] + axis * np.pi / 2
        box[0] += np.cos(heading) * shift
        box[1] += np.sin(heading) * shift
        box[3 + axis] *= fraction
        hidden |= in_box(box, frame.points, 0.1)
    return hidden
