# SPDX-License-Identifier: Apache-2.0
"""A cloud with its labels, as training and evaluation take it, and how it is varied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.sim.world.terrain import Terrain


@dataclass(frozen=True)
class Road:
    """A map of where one may drive, and where it lies under a frame.

    Attributes:
        terrain: the map.
        to_map: (2,3) float64: places (x, y, 1) of the frame to x and y of the map.
    """

    terrain: Terrain
    to_map: np.ndarray

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether places in the frame are road surface."""
        map_x, map_y = self.to_map[:, :2] @ np.stack([x.ravel(), y.ravel()]) + self.to_map[:, 2:]
        return self.terrain.drivable[self.terrain.at(map_x, map_y)].reshape(x.shape)

    def changed(self, change: np.ndarray) -> Road:
        """The same for a frame whose places were multiplied by a (2,2) matrix."""
        to_map = self.to_map.copy()
        to_map[:, :2] = to_map[:, :2] @ np.linalg.inv(change)
        return replace(self, to_map=to_map)


@dataclass(frozen=True)
class Frame:
    """One labelled cloud, in the sensor's frame: x forward, y left, z up.

    Attributes:
        points: (N,4) float32 x, y, z, intensity.
        owner: (N,) int32, index of the object that each point lies on; -1 for other things, -2
            for the ground, where that is known.
        boxes: (O,7) float32 x, y, z of the middle, length, width, height, yaw.
        labels: (O,) int64, index into the classes; -1 for what is none but looks like one.
        road: where one may drive; None where nobody knows.
        whole: whether it is a whole turn, labelled on all sides.
    """

    points: np.ndarray
    owner: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    road: Road | None = None
    whole: bool = False

    @property
    def counts(self) -> np.ndarray:
        """(O,) int64, points on each object."""
        return np.bincount(self.owner[self.owner >= 0], minlength=len(self.boxes))


@dataclass(frozen=True)
class Augmentation:
    """How much frames are varied while a network learns.

    Attributes:
        turn: most that the whole is turned, in radians.
        scale: most by which it becomes larger or smaller, as part of 1.
        lift: standard deviation by which it is raised, in metres.
        drop: largest part of the points that is left out.
        slab: probability that a slice of an object's points is cut off.
        view: probability that only the points of a camera's view stay.
    """

    turn: float = 0.4
    scale: float = 0.07
    lift: float = 0.08
    drop: float = 0.4
    slab: float = 0.15
    view: float = 0.25


def turned(frame: Frame, angle: float, scale: float = 1.0, lift: float = 0.0) -> Frame:
    """The frame turned about z, made larger by ``scale`` and raised by ``lift`` metres."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = (np.array([[cos, sin], [-sin, cos]]) * scale).astype(np.float32)
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :2] = points[:, :2] @ turn
    points[:, 2] = points[:, 2] * scale + lift
    boxes[:, :2] = boxes[:, :2] @ turn
    boxes[:, 2] = boxes[:, 2] * scale + lift
    boxes[:, 3:6] *= scale
    boxes[:, 6] = (boxes[:, 6] + angle + np.pi) % (2 * np.pi) - np.pi
    road = frame.road and frame.road.changed(turn.T.astype(np.float64))
    return replace(frame, points=points, boxes=boxes, road=road)


def mirrored(frame: Frame) -> Frame:
    """Left and right exchanged."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, 1] *= -1
    boxes[:, [1, 6]] *= -1
    road = frame.road and frame.road.changed(np.diag([1.0, -1.0]))
    return replace(frame, points=points, boxes=boxes, road=road)


def facing(frame: Frame, random: np.random.Generator) -> Frame:
    """A whole turn with x ahead or back along the road, or, seldom, anywhere."""
    angle = random.choice([0.0, np.pi]) if random.random() < 0.7 else random.uniform(0, 2 * np.pi)
    return turned(frame, float(angle)) if angle and frame.whole else frame


def varied(frame: Frame, random: np.random.Generator, much: Augmentation) -> Frame:
    """The frame as another day might have shown it."""
    if random.random() < 0.5:
        frame = mirrored(frame)
    frame = turned(
        frame,
        random.uniform(-much.turn, much.turn),
        1 + random.uniform(-much.scale, much.scale),
        random.normal(0, much.lift),
    )
    points = frame.points
    kept = random.random(len(points)) >= random.uniform(0, much.drop) * (random.random() < 0.5)
    if random.random() < much.view:
        kept &= np.abs(np.arctan2(points[:, 1], points[:, 0])) < random.uniform(0.6, 0.9)
    kept &= ~_slabs(frame, random, much.slab)
    return replace(frame, points=points[kept], owner=frame.owner[kept])


def in_box(box: np.ndarray, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(N,) bool: which points are in one box."""
    x, y, z = (points[:, :3] - box[:3]).T
    cos, sin = np.cos(box[6]), np.sin(box[6])
    half = box[3:6] / 2 + margin
    return (
        (np.abs(cos * x + sin * y) <= half[0])
        & (np.abs(cos * y - sin * x) <= half[1])
        & (np.abs(z) <= half[2])
    )


def owners(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) int32: index of the box in which each point lies, -1 for none."""
    owner = np.full(len(points), -1, np.int32)
    for index, box in enumerate(boxes):
        owner[in_box(box, points)] = index
    return owner


def _slabs(frame: Frame, random: np.random.Generator, probability: float) -> np.ndarray:
    """(N,) bool: points of slices that something unseen hides."""
    hidden = np.zeros(len(frame.points), np.bool_)
    for index in np.nonzero((random.random(len(frame.boxes)) < probability) & (frame.counts > 30))[
        0
    ]:
        box = frame.boxes[index].copy()
        share, sign = random.uniform(0.15, 0.6), random.choice([-1, 1])
        axis = random.integers(0, 2)
        shift = sign * box[3 + axis] * (1 - share) / 2
        heading = box[6] + axis * np.pi / 2
        box[0] += np.cos(heading) * shift
        box[1] += np.sin(heading) * shift
        box[3 + axis] *= share
        hidden |= in_box(box, frame.points, 0.1)
    return hidden
