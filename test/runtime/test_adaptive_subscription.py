# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.runtime.adaptive_subscription import (
    AdaptiveSubscription,
    LatchedSubscription,
    incompatible_publishers,
    retry_create,
    select_settings,
)

A, B = 'std_msgs/msg/Float32MultiArray', 'std_msgs/msg/UInt8MultiArray'


def offer(topic_type: str, reliable: bool) -> SimpleNamespace:
    policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    return SimpleNamespace(topic_type=topic_type, qos_profile=SimpleNamespace(reliability=policy))


@pytest.mark.parametrize(
    ('offers', 'current', 'expected'),
    [
        ([], (A, 'reliable'), (A, 'reliable')),
        ([], (B, 'best_effort'), (B, 'best_effort')),
        ([offer(A, True)], (A, 'best_effort'), (A, 'reliable')),
        ([offer(A, False)], (A, 'reliable'), (A, 'best_effort')),
        # A best-effort subscription gets both.
        ([offer(A, True), offer(A, False)], (A, 'reliable'), (A, 'best_effort')),
        ([offer(B, True)], (A, 'reliable'), (B, 'reliable')),
        ([offer(B, True), offer(A, True)], (A, 'reliable'), (A, 'reliable')),
        ([offer(B, False), offer(A, True)], (A, 'reliable'), (A, 'reliable')),
        ([offer('std_msgs/msg/String', False)], (A, 'reliable'), (A, 'reliable')),
    ],
)
def test_choice_follows_the_publishers(offers, current, expected):
    assert select_settings(offers, (A, B), current, None) == expected


def test_a_fixed_reliability_stays():
    settings = select_settings([offer(B, False)], (A, B), (A, 'reliable'), 'reliable')
    assert settings == (B, 'reliable')


@pytest.mark.parametrize(
    ('offers', 'current', 'incompatible'),
    [
        ([], (A, 'reliable'), set()),
        ([offer(A, True), offer(A, False)], (A, 'best_effort'), set()),
        ([offer(A, True), offer(A, False)], (A, 'reliable'), {f'{A}, best_effort'}),
        ([offer(A, True), offer(B, False)], (A, 'reliable'), {B}),
    ],
)
def test_incompatible_publishers(offers, current, incompatible):
    assert incompatible_publishers(offers, current) == incompatible


class Pair:
    """A subscribing and a publishing node on a domain of their own."""

    def __init__(self, name: str) -> None:
        self.contexts = [rclpy.Context() for _ in range(2)]
        for context in self.contexts:
            context.init()
        self.reader, self.writer = (
            rclpy.create_node(role, namespace=f'/{name}', context=context)
            for role, context in zip(('reader', 'writer'), self.contexts, strict=True)
        )
        self.executor = SingleThreadedExecutor(context=self.contexts[0])
        self.executor.add_node(self.reader)
        self.got: list[Any] = []

    def subscribe(self, reliability: str) -> None:
        types = {A: Float32MultiArray, B: UInt8MultiArray}
        AdaptiveSubscription(self.reader, 'tensor', types, self.got.append, reliability, 1)

    def publish_until(self, kind: type, policy: QoSReliabilityPolicy, done: Callable) -> None:
        """Publishes with a new publisher until the reader has noticed."""
        profile = QoSProfile(depth=1, reliability=policy)
        publisher = self.writer.create_publisher(kind, 'tensor', profile)
        end = time.monotonic() + 30
        while not done():
            assert time.monotonic() < end
            publisher.publish(kind())
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.executor.shutdown()
        for node, context in zip((self.reader, self.writer), self.contexts, strict=True):
            node.destroy_node()
            context.try_shutdown()


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.node.name.partition('[')[0])
    yield made
    made.close()


@pytest.mark.parametrize('kind', [Float32MultiArray, UInt8MultiArray])
def test_a_driver_that_appears_later_is_received_without_an_untrue_warning(pair, capfd, kind):
    pair.subscribe('auto')
    pair.publish_until(kind, QoSReliabilityPolicy.BEST_EFFORT, lambda: pair.got)
    lines = capfd.readouterr().err
    assert 'best_effort, like its publishers' in lines
    assert 'incompatible' not in lines.lower()
    assert 'WARN' not in lines


def test_a_publisher_incompatible_with_a_fixed_reliability_is_logged(pair, capfd):
    lines: list[str] = []

    def warned() -> bool:
        lines.append(capfd.readouterr().err)
        return 'nothing is received from' in ''.join(lines)

    pair.subscribe('reliable')
    pair.publish_until(Float32MultiArray, QoSReliabilityPolicy.BEST_EFFORT, warned)
    warnings = [line for line in ''.join(lines).splitlines() if 'WARN' in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        f'tensor: nothing is received from a publisher of {A}, best_effort; '
        f'subscribed as {A}, reliable'
    )
    assert not pair.got


def test_only_publishers_of_its_type_decide_the_durability_of_a_latched_subscription(pair, capfd):
    types = {A: Float32MultiArray}
    subscription = LatchedSubscription(pair.reader, 'tensor', types, pair.got.append, 'auto', 1)
    kept = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    lines: list[str] = []

    def spin_until(done: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not done():
            assert time.monotonic() < end
            pair.executor.spin_once(timeout_sec=0.05)

    def warned() -> bool:
        lines.append(capfd.readouterr().err)
        return 'nothing is received from' in ''.join(lines)

    other = pair.writer.create_publisher(UInt8MultiArray, 'tensor', kept)
    spin_until(warned)
    assert f'subscribed as {A}, reliable' in ''.join(lines)
    assert 'like its publishers' not in ''.join(lines)
    pair.writer.destroy_publisher(other)
    pair.writer.create_publisher(Float32MultiArray, 'tensor', kept).publish(Float32MultiArray())
    spin_until(lambda: subscription._durability == QoSDurabilityPolicy.TRANSIENT_LOCAL)
    spin_until(lambda: bool(pair.got))


def test_creation_is_retried():
    refusals = [RuntimeError('in use')] * 3

    def create() -> str:
        if refusals:
            raise refusals.pop()
        return 'endpoint'

    assert retry_create(create) == 'endpoint'


def test_creation_is_not_retried_forever(monkeypatch):
    monkeypatch.setattr('tiny_bev_ros.runtime.adaptive_subscription._RETRY_S', 0.1)

    def create() -> None:
        raise RuntimeError('in use')

    with pytest.raises(RuntimeError, match='in use'):
        retry_create(create)
