# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Mounting over many clouds: medians, limits, hysteresis and what the first clouds do."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from ground_cloud import ground_cloud

from tiny_bev_ros.inference import mounting_tracker
from tiny_bev_ros.inference.mounting_tracker import MountingTracker
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT, MountingEstimate

EMPTY = np.empty((0, 4), np.float32)


class Acted:
    """Tracker whose estimates are given, each a height in metres and angles in degrees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tracker, self.calls = MountingTracker(), 0
        self.estimate: MountingEstimate | None = None
        monkeypatch.setattr(mounting_tracker, 'estimate_mounting', self._estimated)

    def _estimated(self, points: np.ndarray) -> MountingEstimate | None:
        self.calls += 1
        return self.estimate

    def give(
        self, height: float, pitch: float = 0.0, roll: float = 0.0, count: int = 1
    ) -> Levelling | None:
        self.estimate = MountingEstimate(height, math.radians(pitch), math.radians(roll), 100)
        levelling = None
        for _ in range(count):
            levelling = self.tracker.update(EMPTY)
        return levelling

    @property
    def corrected(self) -> tuple[bool, bool]:
        return self.tracker.state.height_corrected, self.tracker.state.tilt_corrected


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> Acted:
    return Acted(monkeypatch)


def test_the_first_cloud_is_corrected_by_its_own_ground():
    tracker = MountingTracker()
    levelling = tracker.update(ground_cloud(0.4))
    assert levelling is not None
    assert levelling.rotation is None
    assert levelling.lift == pytest.approx(0.4 - NOMINAL_HEIGHT, abs=0.1)
    assert tracker.state.clouds == 1


def test_a_single_cloud_needs_more_than_several(acted: Acted):
    """Slopes of the road near a level sensor are taken for tilts of up to 2.6 degrees."""
    assert acted.give(1.25, 3.5, count=4) is None
    assert acted.give(1.25, 3.5) is not None
    assert acted.corrected == (True, True)


@pytest.mark.parametrize(('height', 'pitch', 'roll'), [(1.4, 0, 0), (2.1, 2, 2), (1.73, -2.9, 0)])
def test_a_mounting_near_the_nominal_one_is_left_alone(
    acted: Acted, height: float, pitch: float, roll: float
):
    assert acted.give(height, pitch, roll, count=100) is None
    assert not acted.tracker.state.corrected


def test_height_and_tilt_are_corrected_each_by_itself(acted: Acted):
    low = acted.give(0.5, 2.0, count=10)
    assert low is not None and low.rotation is None
    acted.tracker.reset()
    tilted = acted.give(1.5, 5.0, count=10)
    assert tilted is not None and tilted.lift == 0.0
    assert tilted.rotation == pytest.approx(MountingEstimate(1.5, math.radians(5), 0).rotation)


def test_one_slope_changes_nothing(acted: Acted):
    acted.give(1.73, count=10)
    for _ in range(9):
        assert acted.give(1.2, 6.0) is None
    assert acted.tracker.state.clouds == 19


def test_a_correction_ends_below_a_lower_limit(acted: Acted):
    begun = acted.give(1.25, count=31)
    assert begun is not None
    assert acted.give(1.35, count=8 * 31) is not None
    assert acted.give(1.45, count=8 * 31) is None
    assert acted.give(1.35, count=8 * 31) is None
    assert acted.give(1.32, count=8 * 31) is not None


def test_a_correction_is_held_within_small_differences(acted: Acted):
    first = acted.give(0.50)
    assert acted.give(0.53, 0.3, count=300) is first
    later = acted.give(0.60, count=300)
    assert later is not first and later is not None
    assert later.lift == pytest.approx(0.6 - NOMINAL_HEIGHT)


def test_one_cloud_in_eight_is_estimated_once_many_are_known(acted: Acted):
    acted.give(1.73, count=31)
    assert acted.calls == 31
    acted.give(1.73, count=80)
    assert acted.calls == 41


def test_clouds_without_ground_leave_the_mounting_as_it_was(acted: Acted):
    assert acted.tracker.update(EMPTY) is None
    assert acted.tracker.state.estimate is None
    begun = acted.give(0.4)
    acted.estimate = None
    for _ in range(100):
        assert acted.tracker.update(EMPTY) is begun
    assert acted.tracker.state.clouds == 1


def test_a_reset_forgets(acted: Acted):
    assert acted.give(0.4, count=40) is not None
    acted.tracker.reset()
    assert acted.tracker.levelling is None
    assert acted.give(1.73) is None
    assert acted.tracker.state.clouds == 1


def test_a_tracker_goes_on_from_its_state(monkeypatch: pytest.MonkeyPatch):
    """Restores change nothing, whenever they come: the levelling is the same."""
    generator = np.random.default_rng(0)
    # A level sensor, then a low one, then a tilted one; some clouds show no ground.
    counts = (3, 40, 257)
    heights, pitches = np.repeat([1.73, 0.6, 1.7], counts), np.repeat([0.0, 0.0, 0.1], counts)
    heights = heights + generator.normal(0, 0.03, 300)
    pitches = pitches + generator.normal(0, 0.01, 300)
    estimates = [
        None if generator.random() < 0.1 else MountingEstimate(height, pitch, 0.01, 100)
        for height, pitch in zip(heights.tolist(), pitches.tolist(), strict=True)
    ]
    current: list[MountingEstimate | None] = [None]
    monkeypatch.setattr(mounting_tracker, 'estimate_mounting', lambda _: current[0])
    plain, carried, kinds = MountingTracker(), MountingTracker(), set()
    for estimate in estimates:
        current[0] = estimate
        wanted = plain.update(EMPTY)
        if generator.random() < 0.3:
            carried = MountingTracker.from_dict(json.loads(json.dumps(carried.to_dict())))
        carried.update(EMPTY)
        assert carried.state == plain.state
        assert carried.to_dict() == plain.to_dict()
        found = carried.levelling
        assert (found is None) == (wanted is None)
        if found is not None and wanted is not None:
            assert found.lift == wanted.lift
            assert np.array_equal(found.rotation, wanted.rotation)
        kinds.add((plain.state.height_corrected, plain.state.tilt_corrected))
    assert {(False, False), (True, False), (False, True)} <= kinds


def test_the_state_before_any_cloud_is_restored():
    tracker = MountingTracker.from_dict(MountingTracker().to_dict())
    assert (tracker.state, tracker.levelling) == (MountingTracker().state, None)
