# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tracks the mounting of a sensor over many clouds, and decides when to correct it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np

from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.sensor_mounting import (
    NOMINAL_HEIGHT,
    MountingEstimate,
    estimate_mounting,
)

# Number of estimates of which the median is taken. While so many are held, one cloud in
# _INTERVAL is estimated.
_WINDOW, _INTERVAL = 31, 8
# Number of estimates up to which the limits of a first cloud hold.
_FEW = 4
# Differences within which a correction stays as it is: m and radians.
_HEIGHT_STEP, _TILT_STEP = 0.05, math.radians(0.5)


class _Limit(NamedTuple):
    """Differences from the nominal mounting at which a correction begins and ends.

    Attributes:
        first: difference above which a correction begins, over the first clouds.
        begin: difference above which one begins, afterwards.
        end: difference below which it ends.
    """

    first: float
    begin: float
    end: float

    def exceeded(self, difference: float, corrected: bool, count: int) -> bool:
        """Returns True if a difference is to be corrected."""
        limit = self.first if count <= _FEW else self.begin
        return difference > (self.end if corrected else limit)


# Slopes and kerbs tilt the ground near a level sensor by up to 2.6 degrees in single clouds.
_HEIGHT_LIMIT = _Limit(0.5, 0.4, 0.3)
_TILT_LIMIT = _Limit(*(math.radians(each) for each in (4.0, 3.0, 2.25)))


@dataclass(frozen=True)
class MountingState:
    """Mounting of a sensor as it is known at one moment.

    Attributes:
        estimate: medians over the last clouds; None before ground was found.
        clouds: number of clouds in the medians.
        height_corrected: True while clouds are put at the nominal height.
        tilt_corrected: True while clouds are levelled.
    """

    estimate: MountingEstimate | None = None
    clouds: int = 0
    height_corrected: bool = False
    tilt_corrected: bool = False

    @property
    def corrected(self) -> bool:
        """True while clouds are changed."""
        return self.height_corrected or self.tilt_corrected


class MountingTracker:
    """Medians of height and tilt over the last clouds, corrected where they are far off.

    Networks bear mountings near the nominal one, and a slope must not be taken for a tilt. So
    height and tilt are each corrected from 0.4 m and 3 degrees on, for the first four clouds
    from 0.5 m and 4 degrees on, until they fall below 0.3 m and 2.25 degrees. A correction is
    held until the medians differ from it by 0.05 m or 0.5 degrees.

    Attributes:
        state: mounting after the last cloud.
        levelling: transform of the clouds; None while they stay as they are.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all clouds."""
        self.state = MountingState()
        self.levelling: Levelling | None = None
        self._recent: deque[MountingEstimate] = deque(maxlen=_WINDOW)
        self._applied: MountingEstimate | None = None
        self._since = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the whole state as exact values that JSON can hold."""
        return {
            'recent': [astuple(estimate) for estimate in self._recent],
            'applied': None if self._applied is None else astuple(self._applied),
            'height_corrected': self.state.height_corrected,
            'tilt_corrected': self.state.tilt_corrected,
            'since': self._since,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> MountingTracker:
        """Returns a tracker that continues from a state of `to_dict`."""
        tracker, applied = cls(), fields['applied']
        tracker._recent.extend(MountingEstimate(*each) for each in fields['recent'])
        tracker._applied = None if applied is None else MountingEstimate(*applied)
        tracker._since = fields['since']
        if tracker._recent:
            tracker.state = MountingState(
                tracker._median(),
                len(tracker._recent),
                fields['height_corrected'],
                fields['tilt_corrected'],
            )
        tracker.levelling = tracker._levelling(tracker._applied)
        return tracker

    def update(self, points: np.ndarray) -> Levelling | None:
        """Returns the transform for a cloud, whose own ground counts as well.

        Args:
            points: (N,3+) float32 x, y, z in metres, finite.
        """
        self._since += 1
        if len(self._recent) < _WINDOW or self._since >= _INTERVAL:
            estimate = estimate_mounting(points)
            if estimate is not None:
                self._recent.append(estimate)
                self._since = 0
                self._decide()
        return self.levelling

    def _decide(self) -> None:
        estimate, count, last = self._median(), len(self._recent), self.state
        off = abs(estimate.height - NOMINAL_HEIGHT)
        self.state = MountingState(
            estimate,
            count,
            _HEIGHT_LIMIT.exceeded(off, last.height_corrected, count),
            _TILT_LIMIT.exceeded(estimate.tilt, last.tilt_corrected, count),
        )
        changed = (self.state.height_corrected, self.state.tilt_corrected) != (
            last.height_corrected,
            last.tilt_corrected,
        )
        if changed or (self._applied is not None and _differ(self._applied, estimate)):
            self._applied = estimate if self.state.corrected else None
            self.levelling = self._levelling(self._applied)

    def _median(self) -> MountingEstimate:
        height, pitch, roll, support = np.median(
            [astuple(each) for each in self._recent], axis=0
        ).tolist()
        return MountingEstimate(height, pitch, roll, int(support))

    def _levelling(self, applied: MountingEstimate | None) -> Levelling | None:
        if applied is None:
            return None
        rotation = applied.rotation if self.state.tilt_corrected else None
        lift = applied.height - NOMINAL_HEIGHT if self.state.height_corrected else 0.0
        return Levelling(rotation, lift)


def _differ(one: MountingEstimate, other: MountingEstimate) -> bool:
    tilt = math.hypot(one.pitch - other.pitch, one.roll - other.roll)
    return abs(one.height - other.height) > _HEIGHT_STEP or tilt > _TILT_STEP


def track_clouds(clouds: Iterable[np.ndarray]) -> tuple[MountingState, Levelling | None]:
    """Returns the mounting after the clouds of one sensor, and the transform that levels them.

    Args:
        clouds: (N,3+) float32 x, y, z in metres, finite, of each cloud.
    """
    tracker = MountingTracker()
    for points in clouds:
        tracker.update(points)
    return tracker.state, tracker.levelling
