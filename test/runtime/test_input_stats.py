# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from threading import Thread

import pytest
from log_recorder import Recorder

from tiny_bev_ros.runtime.input_stats import CAUSES, InputStats


def test_each_reason_is_told_once_in_ten_seconds_and_every_one_counted():
    log, now = Recorder(), [0]
    tally = InputStats(log, lambda: now[0])
    for _ in range(5):
        tally.reject('points', ValueError('a'))
    tally.reject('points', ValueError('b'))
    assert log.lines == ['points rejected (1 so far): a', 'points rejected (6 so far): b']
    now[0] = 10 * 10**9
    tally.reject('points', ValueError('a'))
    assert log.lines[2:] == ['points rejected (7 so far): a']
    assert tally.dropped['rejected'] == 7


def test_the_same_fault_with_other_numbers_is_told_a_few_times():
    log = Recorder()
    tally = InputStats(log, lambda: 0)
    for cell in range(30):
        tally.reject('points', ValueError(f'data holds nan at row {cell}, {cell / 7}'))
    tally.reject('points', ValueError('data holds inf at row 3, 0.5'))
    assert len(log.lines) == 5 + 1
    assert tally.dropped['rejected'] == 31


def test_reasons_that_never_repeat_take_bounded_memory():
    tally = InputStats(Recorder(), lambda: 0)
    for number in range(5000):
        name = ''.join(chr(ord('a') + int(digit)) for digit in str(number))
        tally.reject('points', ValueError(name))
    assert len(tally._told) <= 200


def test_inputs_at_the_wrong_time_and_our_own_faults_are_told_like_wrong_ones():
    log = Recorder()
    tally = InputStats(log, lambda: 0)
    for _ in range(2):
        tally.miss('points', 'stale', 'stamp is 7 ms old')
        tally.fail('points', 'Traceback')
        tally.go_back('the stamp went back by 3 s')
    assert log.lines == [
        'points dropped as stale (1 so far): stamp is 7 ms old',
        'points could not be worked on (1 so far): Traceback',
        'the stamp went back by 3 s (1 so far)',
    ]
    assert (tally.dropped['stale'], tally.dropped['failed'], tally.backwards) == (2, 2, 2)


def test_a_bag_that_begins_again_is_told_once_and_counted():
    log, now = Recorder(), [0]
    log.warning = pytest.fail
    tally = InputStats(log, lambda: now[0])
    for _ in range(4):
        tally.begin_again('again')
        now[0] += 60 * 10**9
    assert log.lines == ['again']
    assert (tally.rounds, tally.backwards) == (4, 4)


def test_every_input_is_accounted_for():
    tally = InputStats(Recorder(), lambda: 0)
    for _ in range(len(CAUSES) + 3):
        tally.receive()
    tally.publish()
    for cause in CAUSES:
        tally.drop(cause)
    assert tally.pending == 2
    assert set(tally.dropped) == set(CAUSES)


def test_counts_from_several_threads_add_up():
    tally = InputStats(Recorder(), lambda: 0)

    def count() -> None:
        for _ in range(2000):
            tally.receive()
            tally.drop('replaced')

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.received == tally.dropped['replaced'] == 8000
    assert tally.pending == 0


def test_summary():
    tally = InputStats(Recorder(), lambda: 0)
    for _ in range(6):
        tally.receive()
    for _ in range(3):
        tally.publish()
    assert str(tally) == 'received 6, published 3, dropped 0; 0 points were not finite'
    for cause in ('rejected', 'unwanted', 'unwanted'):
        tally.drop(cause)
    tally.computed('sparse')
    assert str(tally) == (
        'received 6, published 3, dropped 3 (2 unwanted, 1 rejected); '
        '0 points were not finite, 1 sparse'
    )
