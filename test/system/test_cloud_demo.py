# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests that the demo plays every cloud of a bag, whatever its times are."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

from pathlib import Path
from typing import Any

import pytest

from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, BagMessage, write_bag
from tiny_bev_ros.demo.cloud_demo import PLAY_S, play

START_NS = 1_700_000_000 * 10**9


class InstantNode:
    """Node that answers every cloud at once and records waits instead of waiting."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waits: list[float] = []

    def spin_for(self, seconds: float) -> None:
        self.waits.append(seconds)

    def send(self, cloud: bytes, node: Any) -> bool:
        self.sent.append(cloud)
        return True


def played(path: Path, times: list[int]) -> tuple[InstantNode, int]:
    messages = [BagMessage('/points', time_ns, b'\0%d' % time_ns) for time_ns in times]
    write_bag(path, {'/points': CLOUD_TYPE}, messages)
    node = InstantNode()
    with Bag(path) as bag:
        count, last = play(bag, '/points', node, None)
    assert last is not None
    assert last.data == node.sent[-1]
    assert node.sent == [message.data for message in messages][:count]
    return node, count


def test_a_cloud_before_the_clock_begins_does_not_end_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [0, *(START_NS + index * 10**8 for index in range(3))]
    node, count = played(tmp_path / 'bag', times)
    assert count == 4
    assert max(node.waits) <= 0.2
    out = capsys.readouterr().out
    assert 'the recording has no message for 1700000000.0 s' in out
    assert 'were played' not in out


def test_a_long_bag_is_cut_and_that_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [START_NS + index * 10**10 for index in range(6)]
    node, count = played(tmp_path / 'bag', times)
    assert count == 4
    assert max(node.waits) < PLAY_S
    assert 'stopped after 35 s: 4 of 6 clouds were played' in capsys.readouterr().out
