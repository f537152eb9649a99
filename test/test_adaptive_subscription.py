# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest
from rclpy.qos import QoSReliabilityPolicy

from tiny_bev_ros.transport.adaptive_subscription import choose

A, B = 'std_msgs/msg/Float32MultiArray', 'std_msgs/msg/UInt8MultiArray'


def offer(topic_type: str, reliable: bool) -> SimpleNamespace:
    policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    return SimpleNamespace(topic_type=topic_type, qos_profile=SimpleNamespace(reliability=policy))


@pytest.mark.parametrize(
    ('offers', 'now', 'wanted'),
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
def test_choice_follows_the_publishers(offers, now, wanted):
    assert choose(offers, (A, B), now, None) == wanted


def test_a_fixed_reliability_stays():
    assert choose([offer(B, False)], (A, B), (A, 'reliable'), 'reliable') == (B, 'reliable')
