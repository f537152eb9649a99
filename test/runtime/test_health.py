# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Levels and texts of diagnostics."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tiny_bev_ros.runtime.health import (
    IntervalCounter,
    Level,
    NodeStatus,
    Thresholds,
    evaluate_status,
)
from tiny_bev_ros.runtime.stats import InputStats

LIMITS = Thresholds(
    input_timeout_s=2.0,
    latency_warn_ms=100.0,
    latency_error_ms=500.0,
    rate_warn_hz=8.0,
    rate_error_hz=4.0,
    dropped_warn_fraction=0.3,
    dropped_error_fraction=0.6,
)
NEVER = Thresholds(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
GOOD = NodeStatus('active', latency_ms=50.0, rate_hz=10.0, received=10)


def dropped(**causes: int) -> Counter[str]:
    return Counter(causes)


@pytest.mark.parametrize(
    ('change', 'level', 'text'),
    [
        ({}, Level.OK, 'active'),
        ({'has_subscribers': False, 'rate_hz': 0.0}, Level.OK, 'active, without subscribers'),
        ({'state': 'inactive', 'silent_s': 99.0}, Level.OK, 'inactive'),
        ({'state': 'unconfigured', 'fault': 'no file'}, Level.ERROR, 'unconfigured: no file'),
        ({'silent_s': 1.9}, Level.OK, 'active'),
        ({'silent_s': 2.1}, Level.ERROR, 'no input for 2.1 s'),
        ({'busy_s': 3.0}, Level.ERROR, 'one input has been processed for 3.0 s'),
        ({'latency_ms': 101.0}, Level.WARN, '95 % latency is 101 ms'),
        ({'latency_ms': 501.0}, Level.ERROR, '95 % latency is 501 ms'),
        ({'latency_ms': float('nan')}, Level.OK, 'active'),
        ({'rate_hz': 7.0}, Level.WARN, 'output rate is 7.0 Hz'),
        ({'rate_hz': 3.0}, Level.ERROR, 'output rate is 3.0 Hz'),
        ({'dropped': dropped(stale=4)}, Level.WARN, '4 of 10 inputs dropped: 4 stale'),
        (
            {'dropped': dropped(replaced=5, rejected=2)},
            Level.ERROR,
            '7 of 10 inputs dropped: 5 replaced, 2 rejected',
        ),
        ({'dropped': dropped(no_subscribers=9)}, Level.OK, 'active'),
        ({'dropped': dropped(failed=1)}, Level.ERROR, 'processing failed for 1 inputs'),
        ({'warnings': ('so and so',)}, Level.WARN, 'so and so'),
        (
            {'latency_ms': 101.0, 'silent_s': 3.0},
            Level.ERROR,
            'no input for 3.0 s; 95 % latency is 101 ms',
        ),
    ],
)
def test_status(change, level, text):
    assert evaluate_status(replace(GOOD, **change), LIMITS) == (level, text)


def test_thresholds_can_be_switched_off():
    bad = replace(
        GOOD,
        silent_s=1e5,
        busy_s=1e5,
        latency_ms=1e5,
        rate_hz=0.0,
        dropped=dropped(replaced=10),
    )
    assert evaluate_status(bad, NEVER) == (Level.OK, 'active')


def test_rates_are_those_since_the_last_look():
    stats = InputStats(None, lambda: 0)
    rates = IntervalCounter(stats, 0)
    for _ in range(10):
        stats.count_received()
    for _ in range(6):
        stats.count_published()
    stats.count_dropped('stale')
    since = rates.next_interval(2 * 10**9)
    assert (since.rate_in_hz, since.rate_out_hz, since.received) == (5.0, 3.0, 10)
    assert since.dropped['stale'] == 1
    stats.count_received()
    since = rates.next_interval(3 * 10**9)
    assert (since.rate_in_hz, since.rate_out_hz, since.dropped['stale']) == (1.0, 0.0, 0)
