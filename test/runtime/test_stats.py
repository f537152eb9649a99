# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import math
from threading import Thread

import pytest
from log_recorder import Recorder

from tiny_bev_ros.runtime.stats import (
    CAMERA_CAUSES,
    CAUSES,
    CameraStats,
    FrameTimes,
    InputStats,
    Percentiles,
)

MS = 10**6


def test_each_reason_is_logged_once_in_ten_seconds_and_always_counted():
    log, now = Recorder(), [0]
    stats = InputStats(log, lambda: now[0])
    for _ in range(5):
        stats.count_rejected('points', ValueError('a'))
    stats.count_rejected('points', ValueError('b'))
    assert log.lines == ['points rejected (1 so far): a', 'points rejected (6 so far): b']
    now[0] = 10 * 10**9
    stats.count_rejected('points', ValueError('a'))
    assert log.lines[2:] == ['points rejected (7 so far): a']
    assert stats.dropped['rejected'] == 7


def test_a_fault_with_other_numbers_is_logged_a_few_times():
    log = Recorder()
    stats = InputStats(log, lambda: 0)
    for cell in range(30):
        stats.count_rejected('points', ValueError(f'data holds nan at row {cell}, {cell / 7}'))
    stats.count_rejected('points', ValueError('data holds inf at row 3, 0.5'))
    assert len(log.lines) == 5 + 1
    assert stats.dropped['rejected'] == 31


def test_reasons_that_never_repeat_take_bounded_memory():
    stats = InputStats(Recorder(), lambda: 0)
    for number in range(5000):
        name = ''.join(chr(ord('a') + int(digit)) for digit in str(number))
        stats.count_rejected('points', ValueError(name))
    assert len(stats._throttle._logged) <= 200


def test_stale_inputs_and_internal_errors_are_logged_like_invalid_ones():
    log = Recorder()
    stats = InputStats(log, lambda: 0)
    for _ in range(2):
        stats.count_mistimed('points', 'stale', 'stamp is 7 ms old')
        stats.count_failed('points', 'Traceback')
        stats.count_time_jump('stamp jumped back by 3 s')
    assert log.lines == [
        'points dropped as stale (1 so far): stamp is 7 ms old',
        'points failed in processing (1 so far): Traceback',
        'stamp jumped back by 3 s (1 so far)',
    ]
    assert (stats.dropped['stale'], stats.dropped['failed'], stats.time_jumps) == (2, 2, 2)


def test_a_restart_is_logged_once_and_counted():
    log, now = Recorder(), [0]
    log.warning = pytest.fail
    stats = InputStats(log, lambda: now[0])
    for _ in range(4):
        stats.count_restart('again')
        now[0] += 60 * 10**9
    assert log.lines == ['again']
    assert (stats.restarts, stats.time_jumps) == (4, 4)


def test_every_input_is_accounted_for():
    stats = InputStats(Recorder(), lambda: 0)
    for _ in range(len(CAUSES) + 3):
        stats.count_received()
    stats.count_published()
    for cause in CAUSES:
        stats.count_dropped(cause)
    assert stats.pending == 2
    assert set(stats.dropped) == set(CAUSES)


def test_counts_from_several_threads_add_up():
    stats = InputStats(Recorder(), lambda: 0)

    def count() -> None:
        for _ in range(2000):
            stats.count_received()
            stats.count_dropped('replaced')

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats.received == stats.dropped['replaced'] == 8000
    assert stats.pending == 0


def test_summary():
    stats = InputStats(Recorder(), lambda: 0)
    for _ in range(6):
        stats.count_received()
    for _ in range(3):
        stats.count_published()
    assert str(stats) == 'received 6, published 3, dropped 0; 0 points were not finite'
    for cause in ('rejected', 'no_subscribers', 'no_subscribers'):
        stats.count_dropped(cause)
    stats.count_path('sparse')
    assert str(stats) == (
        'received 6, published 3, dropped 3 (2 no_subscribers, 1 rejected); '
        '0 points were not finite, 1 sparse'
    )


def test_a_camera_counts_outcomes_and_missing_frames():
    log = Recorder()
    stats = CameraStats('front', log, lambda: 0)
    assert set(stats.dropped) == set(CAMERA_CAUSES)
    for _ in range(4):
        stats.count_received()
    stats.count_published()
    stats.count_dropped('late')
    stats.count_rejected('front/camera_features', ValueError('no k'))
    for _ in range(3):
        stats.count_missing('no message')
    assert stats.pending == 1
    assert str(stats) == (
        'received 4, used 1, dropped 2 (1 rejected, 1 late); missing in 3 frames'
    )
    assert log.lines == [
        'front/camera_features rejected (1 so far): no k',
        'front missing (1 so far): no message',
    ]


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
