# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Subscriptions that adapt type, reliability and durability to the publishers of a topic."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from tiny_bev_ros.optional_imports import import_optional

_Endpoint = TypeVar('_Endpoint')
# The module of Humble has an older name.
_EVENTS: Any = import_optional('rclpy.event_handler').module or import_module('rclpy.qos_event')
_POLL_PERIOD_S = 0.2
_RETRY_S = 1.0
_LATCHED = QoSDurabilityPolicy.TRANSIENT_LOCAL


class AdaptiveSubscription:
    """Subscription that takes its reliability, and one of several types, from the publishers.

    A reliable subscription receives nothing from a best-effort publisher, as most sensor drivers
    are; a best-effort subscription loses parts of large messages. So this subscription adapts to
    the publishers, which it polls five times a second. rclpy's own warnings of incompatible
    types or QoS are off: they come before the first poll, and claim that nothing will be
    received. Instead, a warning is logged for each publisher that stays incompatible.

    Args:
        node: subscribing node.
        topic: relative topic name.
        types: message classes by ROS type name; the first is used until a publisher of
            another type appears.
        callback: receives each message.
        reliability: auto, reliable or best_effort.
        depth: depth of the queue.
        group: callback group; None for the default one of the node.
        on_poll: called after each poll of the publishers.

    Attributes:
        topic: full topic name.
    """

    _durability = QoSDurabilityPolicy.VOLATILE

    def __init__(
        self,
        node: Node,
        topic: str,
        types: dict[str, type],
        callback: Callable[[Any], None],
        reliability: str,
        depth: int,
        group: CallbackGroup | None = None,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._name, self._types, self._callback = node, topic, types, callback
        self._on_poll = on_poll
        self._fixed = None if reliability == 'auto' else reliability
        self._depth, self._group = depth, group
        self._current = (next(iter(types)), self._fixed or 'reliable')
        self._subscription: Any = self._subscribe(self._current)
        self._incompatible: set[str] = set()
        self.topic: str = self._subscription.topic_name
        # A steady clock: simulated time may stand still, or not have begun.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_POLL_PERIOD_S, self._poll, group, clock=steady)
        self._poll()

    def destroy(self) -> None:
        """Destroys the timer and the subscription."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _subscribe(self, settings: tuple[str, str]) -> Any:
        type_name, reliability = settings
        profile = QoSProfile(depth=self._depth, durability=self._durability)
        profile.reliability = getattr(QoSReliabilityPolicy, reliability.upper())
        return self._node.create_subscription(
            self._types[type_name],
            self._name,
            self._callback,
            profile,
            callback_group=self._group,
            event_callbacks=_EVENTS.SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def _select_durability(self, publishers: list[Any]) -> QoSDurabilityPolicy:
        """Returns the durability for publishers of the subscribed type."""
        return self._durability

    def _poll(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        settings = select_settings(publishers, tuple(self._types), self._current, self._fixed)
        incompatible = incompatible_publishers(publishers, settings)
        for offer in sorted(incompatible - self._incompatible):
            self._node.get_logger().warning(
                f'{self.topic}: nothing is received from a publisher of {offer}; '
                f'subscribed as {", ".join(settings)}'
            )
        self._incompatible = incompatible
        durability = self._select_durability(
            [publisher for publisher in publishers if publisher.topic_type == settings[0]]
        )
        current = (self._current, self._durability)
        if self._subscription is None or (settings, durability) != current:
            self._durability = durability
            self._resubscribe(settings)
        self._on_poll()

    def _resubscribe(self, settings: tuple[str, str]) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None  # should creation fail, the next poll tries again
        self._subscription = retry_create(lambda: self._subscribe(settings))
        self._current = settings
        self._node.get_logger().info(
            f'{self.topic}: subscribed as {", ".join(settings)}, like its publishers'
        )


class LatchedSubscription(AdaptiveSubscription):
    """An AdaptiveSubscription that is transient local while all publishers are.

    It also receives messages that were published once before, such as a calibration.
    """

    def _select_durability(self, publishers: list[Any]) -> QoSDurabilityPolicy:
        if not publishers:
            return self._durability
        latched = all(each.qos_profile.durability == _LATCHED for each in publishers)
        return _LATCHED if latched else QoSDurabilityPolicy.VOLATILE


def select_settings(
    publishers: list[Any], types: tuple[str, ...], current: tuple[str, str], fixed: str | None
) -> tuple[str, str]:
    """Returns type name and reliability to subscribe with.

    Args:
        publishers: TopicEndpointInfo of each publisher.
        types: ROS type names that the node understands.
        current: settings of the subscription, kept while there is no publisher.
        fixed: reliability that a parameter demands, if any.
    """
    usable = [publisher for publisher in publishers if publisher.topic_type in types]
    if not usable:
        return current
    offered = [publisher.topic_type for publisher in usable]
    type_name = current[0] if current[0] in offered else offered[0]
    best_effort = any(_is_best_effort(each) for each in usable if each.topic_type == type_name)
    return type_name, fixed or ('best_effort' if best_effort else 'reliable')


def incompatible_publishers(publishers: list[Any], settings: tuple[str, str]) -> set[str]:
    """Returns type, or type and reliability, of the publishers that cannot be received.

    Only these two can differ: every publisher offers the default durability, deadline and
    liveliness that a subscription asks for.

    Args:
        publishers: TopicEndpointInfo of each publisher.
        settings: type name and reliability of the subscription.
    """
    type_name, reliability = settings
    incompatible = {publisher.topic_type for publisher in publishers} - {type_name}
    if reliability == 'reliable' and any(
        publisher.topic_type == type_name and _is_best_effort(publisher)
        for publisher in publishers
    ):
        incompatible.add(f'{type_name}, best_effort')
    return incompatible


def retry_create(create: Callable[[], _Endpoint]) -> _Endpoint:
    """Creates a publisher or subscription that replaces a destroyed one of another type.

    Fast DDS allows one type per topic and participant, and an executor that waits in another
    thread releases a destroyed endpoint a moment later.

    Args:
        create: creates the endpoint; called until it succeeds.

    Raises:
        Exception: `create` still raises it after a second.
    """
    end = time.monotonic() + _RETRY_S
    while True:
        try:
            return create()
        except Exception:  # the middleware raises several kinds
            if time.monotonic() >= end:
                raise
            time.sleep(_RETRY_S / 100)


def _is_best_effort(publisher: Any) -> bool:
    return bool(publisher.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT)
