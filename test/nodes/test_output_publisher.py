# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Publishers of outputs: the middleware is queried for subscribers once for each input."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from node_bench import SMALL, process
from rclpy.exceptions import InvalidHandle
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.nodes.head_publishers import HeadPublishers, head_publisher_names
from tiny_bev_ros.nodes.output_publisher import OutputPublisher, Subscribers
from tiny_bev_ros.nodes.parameters import ALL
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.runtime.stats import FrameTimes


class Subscribed(OutputPublisher):
    """Publisher whose topics are taken to have subscribers."""

    def __init__(self, *topics: str) -> None:
        self._topics = set(topics)

    def subscribed(self) -> set[str]:
        return self._topics


class Destroyed(OutputPublisher):
    def __init__(self) -> None:
        """Makes no ROS publisher."""

    def subscribed(self) -> set[str]:
        raise InvalidHandle('destroyed')


def test_topics_of_times_are_kept_apart():
    none, times = Subscribed(), Subscribed('~/debug/processing_time_ms')
    assert not Subscribers.of([none])
    assert Subscribers.of([none, times]).only_debug
    both = Subscribers.of([times, Subscribed('bev_features')])
    assert both and not both.only_debug
    assert both.topics == {'bev_features'}
    assert both.debug == {'~/debug/processing_time_ms'}


def test_publishers_that_end_have_no_subscribers():
    assert not Subscribers.of([Subscribed('bev_features'), Destroyed()])


def test_every_head_has_a_publisher():
    assert set(head_publisher_names()) == set(ALL['heads.names'].default)


@pytest.fixture
def node() -> Iterator[PipelineNode]:
    context = rclpy.Context()
    context.init()
    values = SMALL | {'backbone.sparsity': 'never'}
    node = PipelineNode(
        context=context,
        namespace=f'/outputs_{os.getpid()}',
        parameter_overrides=[RosParameter(name, value=each) for name, each in values.items()],
    )
    assert node.start()
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_each_topic_is_queried_once_for_a_cloud(node: PipelineNode, monkeypatch):
    queried: Counter[str] = Counter()
    topics = {'bev_features', 'bev_image', 'detection_boxes', 'drivable_area', 'pseudo_image'}
    sent: list[str] = []

    def subscribed(output: OutputPublisher) -> set[str]:
        queried.update(output.topics)
        return set(output.topics) & topics

    monkeypatch.setattr(OutputPublisher, 'subscribed', subscribed)
    for output in node._outputs:
        for topic, publisher in output.publishers.items():
            monkeypatch.setattr(
                publisher, 'publish', lambda _, topic=topic: sent.append(topic), raising=True
            )
    points = np.random.default_rng(0).uniform([0, -8, -3, 0], [16, 8, 1, 1], (50, 4))
    cloud: Any = encode_cloud(points.astype(np.float32), (1, 0), 'lidar')
    process(node, cloud)
    assert set(queried.values()) == {1}
    assert sorted(sent) == ['bev_image', 'detection_boxes', 'drivable_area']
    # A subscriber that leaves counts from the next cloud on.
    topics.intersection_update({'bev_features'})
    process(node, cloud)
    assert set(queried.values()) == {2}
    assert len(sent) == 3


def test_a_dropped_cloud_leaves_the_topics_of_the_cloud_that_waits(
    node: PipelineNode, monkeypatch: pytest.MonkeyPatch
):
    topics = {'bev_features'}
    monkeypatch.setattr(OutputPublisher, 'subscribed', lambda self: set(self.topics) & topics)
    is_active = node.input_options()['is_active']
    assert is_active()
    topics.clear()
    assert not is_active()
    with node._frame(FrameTimes(0)):
        assert node.subscribers.topics == {'bev_features'}


def test_heads_that_a_node_does_not_run_have_no_topics(node: PipelineNode):
    values = node.values | {'heads.names': ['drivable']}
    publishers = HeadPublishers(node, values)
    try:
        assert publishers.topics == {'drivable_area'}
    finally:
        publishers.destroy()
