# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BevSubscriber in a node of its own, over the real middleware."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_graph import RosGraph, quality

from tiny_bev_ros.client import BevSubscriber, decode_pillars
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.multi_array import MESSAGE_TYPES
from tiny_bev_ros.messages.pillar_tensor import encode_pillars
from tiny_bev_ros.messages.tensor import encode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels

pytestmark = pytest.mark.dds

LABELS = TensorLabels((5, 6), 'lidar', Axis(-8.0, 1.0), Axis(0.0, 1.0))


@pytest.fixture
def consumer(graph: RosGraph) -> Iterator[tuple[Node, Callable[[], None]]]:
    """Node in another context, as Fast DDS allows one type per topic and context."""
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node('consumer', namespace=graph.namespace, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, lambda: executor.spin_once(timeout_sec=0.05)
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize('encoding', MESSAGE_TYPES)
@pytest.mark.parametrize('reliable', [True, False])
def test_it_follows_encoding_and_reliability(graph, consumer, encoding: str, reliable: bool):
    node, spin = consumer
    got = []
    subscriber = BevSubscriber(node, 'bev_features', got.append)
    publisher = graph.node.create_publisher(
        MESSAGE_TYPES[encoding], 'bev_features', quality(reliable, 1)
    )
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    message = encode_tensor(array, LABELS, encoding)

    def arrived() -> bool:
        if publisher.get_subscription_count():
            publisher.publish(message)
        spin()
        return bool(got)

    graph.spin_until(arrived)
    assert got[0].labels == LABELS
    assert got[0].tensor.dtype == getattr(torch, encoding)
    np.testing.assert_array_equal(got[0].tensor.float().numpy(), array)
    assert subscriber.stats.published == subscriber.stats.received >= 1


def test_it_reads_pillars_and_survives_what_is_none(graph, consumer):
    node, spin = consumer
    got = []
    subscriber = BevSubscriber(node, 'pillars', got.append, decode=decode_pillars, depth=9)
    publisher = graph.node.create_publisher(MESSAGE_TYPES['float32'], 'pillars', 10)
    features, cells = torch.rand(3, 4), torch.tensor([[0, 1], [2, 3], [1, 0]])
    good = encode_pillars(features, cells, (3, 4), LABELS)
    bad = encode_pillars(features, cells, (3, 4), LABELS)
    bad.layout.dim[2].label = bad.layout.dim[2].label.replace('cells=3', 'cells=2')

    def arrived() -> bool:
        if publisher.get_subscription_count():
            publisher.publish(bad)
            publisher.publish(good)
        spin()
        return bool(got) and subscriber.stats.dropped['rejected'] > 0

    graph.spin_until(arrived)
    np.testing.assert_array_equal(got[0].features, features.numpy())
    np.testing.assert_array_equal(got[0].cells, cells.numpy())
    assert subscriber.stats.published == len(got)


def test_what_is_not_wanted_is_not_read(graph, consumer):
    node, spin = consumer
    subscriber = BevSubscriber(
        node, 'bev_features', pytest.fail, is_active=lambda: False, decode=pytest.fail
    )
    publisher = graph.node.create_publisher(MESSAGE_TYPES['float32'], 'bev_features', 10)
    message = encode_tensor(np.zeros((1, 1, 2, 2), np.float32), LABELS)

    def arrived() -> bool:
        if publisher.get_subscription_count():
            publisher.publish(message)
        spin()
        return subscriber.stats.received >= 2

    graph.spin_until(arrived)
    assert subscriber.stats.dropped['no_subscribers'] == subscriber.stats.received


LOADING = """
import os
import sys
from tiny_bev_ros.client import BevSubscriber, tune_process
assert 'torch' not in sys.modules, 'it is loaded before the process is tuned'
tune_process()
assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'
import rclpy
rclpy.init()
subscriber = BevSubscriber(rclpy.create_node('consumer'), 'bev_features', print)
assert 'torch' in sys.modules, 'the first callback would wait for it'
rclpy.shutdown()
"""


def test_pytorch_is_loaded_after_tuning_and_before_the_first_message(graph: RosGraph):
    bare = {name: value for name, value in os.environ.items() if name != 'OMP_WAIT_POLICY'}
    done = subprocess.run(
        [sys.executable, '-c', LOADING], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
