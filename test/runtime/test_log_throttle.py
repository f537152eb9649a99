# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Log lines of a silent topic, and of its first messages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tiny_bev_ros.runtime.log_throttle import TopicSilence, describe_publishers

CLOUD = 'sensor_msgs/msg/PointCloud2'


class Log:
    """A logger, a clock, and a TopicSilence that uses both."""

    def __init__(self, limit_s: float) -> None:
        self.lines: list[str] = []
        self.now_s = 100.0
        self.silence = TopicSilence(
            self, '/points', lambda: limit_s, lambda: int(self.now_s * 1e9), lambda: 'so it is'
        )

    def info(self, line: str) -> None:
        self.lines.append(line)

    warning = info

    def after(self, seconds: float, message: bool = False) -> list[str]:
        """Returns the lines of the next seconds, at the end of which a message may arrive."""
        self.lines.clear()
        for _ in range(int(seconds * 5)):
            self.now_s += 0.2
            self.silence.check()
        if message:
            self.silence.message_received()
        return self.lines.copy()


def test_a_gap_is_logged_once_a_minute_and_its_end():
    log = Log(limit_s=2.0)
    assert log.after(4.0) == []
    assert log.after(2.0) == ['/points: no message for 5 s; so it is']
    assert log.after(58.0) == []
    assert log.after(3.0) == ['/points: no message for 65 s; so it is']
    assert log.after(1.0, message=True) == ['/points: first message received']
    assert log.after(1.0, message=True) == []
    warning, resumed = log.after(7.0, message=True)
    assert (warning, resumed) == (
        '/points: no message for 5 s; so it is',
        '/points: messages resumed after 7 s',
    )
    assert log.after(1.0, message=True) == []


@pytest.mark.parametrize(('limit_s', 'after_s'), [(0.5, 5), (2.0, 5), (8.0, 8)])
def test_the_limit_of_diagnostics_holds_where_it_is_longer(limit_s, after_s):
    log = Log(limit_s)
    assert log.after(after_s - 0.5) == []
    assert len(log.after(1.0)) == 1


def test_a_limit_of_zero_is_none():
    assert Log(0.0).after(1000.0) == []


class Graph:
    """Stand-in for a node: publishers by topic, all of one type."""

    def __init__(self, **topics: list[str]) -> None:
        self.topics = {f'/{name}': nodes for name, nodes in topics.items()}
        self.subscriptions = [SimpleNamespace(topic_name='/heard')]

    def get_name(self) -> str:
        return 'own'

    def get_namespace(self) -> str:
        return '/'

    def count_publishers(self, topic: str) -> int:
        return len(self.topics.get(topic, []))

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [*((name, [CLOUD]) for name in self.topics), ('/chatter', ['std_msgs/msg/String'])]

    def get_publishers_info_by_topic(self, topic: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(node_name=name, node_namespace='/') for name in self.topics[topic]]


@pytest.mark.parametrize(
    ('graph', 'hint'),
    [
        (Graph(points=['lidar']), 'it has 1 publisher'),
        (Graph(points=['lidar', 'bag'], other=['bag']), 'it has 2 publishers'),
        (Graph(points=[], unused=[], map=['own']), 'it has no publisher'),
        (Graph(points=[], heard=['lidar']), 'it has no publisher'),
        (
            Graph(points=[], lidar=['driver']),
            'it has no publisher; topics of the same type: /lidar',
        ),
        (
            Graph(a=['x'], b=['x'], c=['x'], d=['x'], e=['x']),
            'it has no publisher; topics of the same type: /a, /b, /c and 2 more',
        ),
    ],
)
def test_the_hint_counts_publishers_or_names_other_topics(graph: Graph, hint: str):
    assert describe_publishers(graph, '/points', (CLOUD,)) == hint
