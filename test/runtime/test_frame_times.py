# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from tiny_bev_ros.runtime.frame_times import FrameTimes, Percentiles

MS = 10**6


def test_stages_wait_processing_and_latency():
    now = [5 * MS]
    times = FrameTimes(3 * MS, lambda: now[0])
    for stage, spent in (('decode', 2), ('publish', 1), ('backbone', 7), ('publish', 4)):
        with times.stage(stage):
            now[0] += spent * MS
    assert times.stages_ms == {'wait': 2.0, 'decode': 2.0, 'publish': 5.0, 'backbone': 7.0}
    assert times.processing_ms() == 14.0
    assert times.latency_ms() == 16.0


def test_a_stage_that_fails_is_timed():
    now = [0]
    times = FrameTimes(0, lambda: now[0])
    with pytest.raises(KeyError), times.stage('decode'):
        now[0] += 3 * MS
        raise KeyError
    assert times.stages_ms['decode'] == 3.0


def test_percentiles_are_of_the_latest_values():
    values = Percentiles(size=100)
    assert all(math.isnan(value) for value in values.at(50, 95))
    for value in range(1000):
        values.add(value)
    assert values.at(0, 50, 100) == [900.0, 949.5, 999.0]
    values.clear()
    assert math.isnan(values.at(50)[0])
