# SPDX-License-Identifier: Apache-2.0
"""What the log says while nothing comes, and when something does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tiny_bev_ros.runtime.log_throttle import TopicSilence, describe_publishers

CLOUD = 'sensor_msgs/msg/PointCloud2'


class Log:
    """A logger, a clock, and a Silence that uses both."""

    def __init__(self, limit_s: float) -> None:
        self.lines: list[str] = []
        self.now_s = 100.0
        self.silence = TopicSilence(
            self, '/points', lambda: limit_s, lambda: int(self.now_s * 1e9), lambda: 'so it is'
        )

    def info(self, line: str) -> None:
        self.lines.append(line)

    warning = info

    def said(self, seconds: float, heard: bool = False) -> list[str]:
        """Lines of the next seconds, at the end of which a message may come."""
        self.lines.clear()
        for _ in range(int(seconds * 5)):
            self.now_s += 0.2
            self.silence.look()
        if heard:
            self.silence.hear()
        return self.lines.copy()


def test_a_gap_is_told_once_a_minute_and_its_end():
    log = Log(limit_s=2.0)
    assert log.said(4.0) == []
    assert log.said(2.0) == ['/points: nothing came for 5 s; so it is']
    assert log.said(58.0) == []
    assert log.said(3.0) == ['/points: nothing came for 65 s; so it is']
    assert log.said(1.0, heard=True) == ['/points: the first message came']
    assert log.said(1.0, heard=True) == []
    told, again = log.said(7.0, heard=True)
    assert (told, again) == (
        '/points: nothing came for 5 s; so it is',
        '/points: messages come again, after 7 s',
    )
    assert log.said(1.0, heard=True) == []


@pytest.mark.parametrize(('limit_s', 'after_s'), [(0.5, 5), (2.0, 5), (8.0, 8)])
def test_the_limit_of_diagnostics_holds_where_it_is_longer(limit_s, after_s):
    log = Log(limit_s)
    assert log.said(after_s - 0.5) == []
    assert len(log.said(1.0)) == 1


def test_a_limit_of_zero_is_none():
    assert Log(0.0).said(1000.0) == []


class Graph:
    """A node as far as it is asked for topics: names to publishers, all of one type."""

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
            'it has no publisher; of its type there is /lidar',
        ),
        (
            Graph(a=['x'], b=['x'], c=['x'], d=['x'], e=['x']),
            'it has no publisher; of its type there is /a, /b, /c and 2 more',
        ),
    ],
)
def test_the_hint_says_who_publishes_and_where(graph: Graph, hint: str):
    assert describe_publishers(graph, '/points', (CLOUD,)) == hint
