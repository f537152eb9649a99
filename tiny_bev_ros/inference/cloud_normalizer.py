# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Normalizes clouds for the networks, and puts outputs back into the frames of the clouds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.mounting_tracker import MountingState, MountingTracker
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT, MountingEstimate

# Largest height of an origin above the ground, either way, in metres.
MAX_HEIGHT = 10.0


@dataclass(frozen=True)
class SelfBox:
    """Box that holds the robot itself, in the frame of the cloud.

    Attributes:
        low: x, y, z of the lower ends, in metres.
        high: x, y, z of the upper ends, in metres.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    @classmethod
    def from_ends(cls, ends: Sequence[float]) -> SelfBox | None:
        """Makes a box of [x0, x1, y0, y1, z0, z1] in metres; None of [] and of zeros.

        Raises:
            TinyBevError: there are not six finite numbers, or ends are not in order.
        """
        values = [float(end) for end in ends]
        if not any(values):
            return None
        if len(values) != 6 or not all(math.isfinite(value) for value in values):
            raise TinyBevError(
                f'self_box is {values}; expected 6 finite numbers, x0, x1, y0, y1, z0, z1'
            )
        low, high = values[::2], values[1::2]
        for axis, first, last in zip('xyz', low, high, strict=True):
            if first >= last:
                raise TinyBevError(
                    f'self_box has {axis}0 {first:g} and {axis}1 {last:g}; expected {axis}0 below'
                )
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def outside(
        self, points: np.ndarray, reference: tuple[float, float] = (0.0, 0.0)
    ) -> np.ndarray:
        """Returns the points outside of the box; ``points`` itself where that is all of them.

        Args:
            points: (N,3+) float32 x, y, z, x and y relative to ``reference``.
            reference: position (x, y) in metres, see `BevGrid.reference`.
        """
        inside = np.ones(len(points), np.bool_)
        for axis, offset in enumerate((*reference, 0.0)):
            value = points[:, axis]
            inside &= value >= np.float32(self.low[axis] - offset)
            inside &= value <= np.float32(self.high[axis] - offset)
        return points[~inside] if inside.any() else points


class NormalizedCloud(NamedTuple):
    """A cloud as networks take it.

    Attributes:
        points: (N,F) float32, level and at the nominal height.
        levelling: transform from the cloud to these points; None where they are the cloud's own.
    """

    points: np.ndarray
    levelling: Levelling | None


class CloudNormalizer:
    """Levels the clouds of one sensor and puts them at the nominal height.

    Args:
        sensor_height: height of the origin of clouds above the ground, in metres; 'auto'
            estimates height and tilt from the points, see `MountingTracker`.
        reference: position (x, y) that was subtracted from the points; where it is not (0, 0) the
            sensor is far from the origin of the cloud's frame, and 'auto' changes nothing.
        estimates: false for networks that were not trained on levelled clouds: 'auto' changes
            nothing.

    Attributes:
        tracker: estimator of the mounting; None where it is given, or nothing is changed.

    Raises:
        TinyBevError: the height is neither 'auto' nor within 10 m.
    """

    def __init__(
        self,
        sensor_height: float | str = 'auto',
        reference: tuple[float, float] = (0.0, 0.0),
        estimates: bool = True,
    ) -> None:
        self.tracker: MountingTracker | None = None
        self._fixed: Levelling | None = None
        self._given = MountingState()
        if sensor_height == 'auto':
            self.tracker = MountingTracker() if estimates and not any(reference) else None
            return
        height = _checked_height(sensor_height)
        differs = height != NOMINAL_HEIGHT
        self._given = MountingState(MountingEstimate(height, 0.0, 0.0), height_corrected=differs)
        if differs:
            self._fixed = Levelling(None, height - NOMINAL_HEIGHT)

    @property
    def state(self) -> MountingState:
        """Mounting as estimated so far, or as given, which counts no clouds."""
        return self.tracker.state if self.tracker is not None else self._given

    def reset(self) -> None:
        """Forgets all clouds, as for another sensor or recording."""
        if self.tracker is not None:
            self.tracker.reset()

    def restore(self, fields: Mapping[str, Any] | None) -> None:
        """Continues from a state of `MountingTracker.to_dict`; None for that before any cloud.

        Raises:
            TinyBevError: there is a state, but nothing is estimated.
        """
        if fields is None:
            self.reset()
        elif self.tracker is None:
            raise TinyBevError(
                'state of a mounting is given; expected None, as no mounting is estimated'
            )
        else:
            self.tracker = MountingTracker.from_dict(fields)

    def __call__(self, points: np.ndarray) -> NormalizedCloud:
        """Normalizes a cloud.

        Args:
            points: (N,4) or (N,5) float32 x, y, z in metres and further values, finite.
        """
        levelling = self.tracker.update(points) if self.tracker is not None else self._fixed
        return NormalizedCloud(
            points if levelling is None else levelling.points(points), levelling
        )


def restore_outputs(
    outputs: HeadOutputs,
    levelling: Levelling | None,
    sensor: tuple[float, float] = (0.0, 0.0),
) -> HeadOutputs:
    """Puts objects back into the frame of the cloud, and leaves out those around the sensor.

    Args:
        outputs: outputs of the heads for a normalized cloud.
        levelling: transform of that cloud.
        sensor: position (x, y) of the sensor in the frame of the cloud, in metres.

    Returns:
        Outputs without the objects whose box, seen from above, contains the sensor: they are the
        vehicle or the person that carries it.
    """
    found = outputs.detections
    if found is None:
        return outputs
    boxes = found.boxes if levelling is None else levelling.restore_boxes(found.boxes)
    apart = ~_contains(boxes, sensor)
    kept = Detections(boxes[apart], found.scores[apart], found.labels[apart])
    return HeadOutputs({**outputs, 'detection': kept})


def _contains(boxes: Tensor, position: tuple[float, float]) -> Tensor:
    """Returns (N,) bool: true for boxes (N,7) that contain a position (x, y), seen from above."""
    x, y = position[0] - boxes[:, 0], position[1] - boxes[:, 1]
    cos, sin = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
    along, across = (cos * x + sin * y).abs(), (cos * y - sin * x).abs()
    return (along <= boxes[:, 3] / 2) & (across <= boxes[:, 4] / 2)


def _checked_height(given: float | str) -> float:
    is_number = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not (is_number and abs(float(given)) <= MAX_HEIGHT):
        raise TinyBevError(
            f"sensor_height is {given!r}; expected 'auto' or {-MAX_HEIGHT:g} to {MAX_HEIGHT:g} m"
        )
    return float(given)
