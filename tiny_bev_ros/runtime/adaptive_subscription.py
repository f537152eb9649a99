# SPDX-License-Identifier: Apache-2.0
"""A subscription that takes what the publishers on its topic offer."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.retry_create import retry_create

# Under its older name in Humble.
_EVENTS: Any = import_optional('rclpy.event_handler').module or import_module('rclpy.qos_event')

_LOOK_EVERY_S = 0.2


class AdaptiveSubscription:
    """Subscribes with the reliability, and the one of several types, that is on offer.

    A reliable subscription gets nothing from a best-effort publisher, which is what most
    sensor drivers are; a best-effort one loses parts of large messages. So this one does
    as the publishers do, and looks again five times a second. rclpy's own warnings, of a type
    or a quality that does not fit, are off: they come before it looks, and say that nothing will
    be received. It warns itself of a publisher that it cannot do as.

    Args:
        node: which subscribes.
        topic: relative name.
        types: message classes by ROS type name; the first is used until a publisher of
            another one shows up.
        callback: gets each message.
        reliability: auto, reliable or best_effort.
        depth: messages that wait.
        group: of callbacks; None for the node's own.
        looked: is called after each look.

    Attributes:
        topic: full name.
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
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._name, self._types, self._callback = node, topic, types, callback
        self._looked = looked
        self._fixed = None if reliability == 'auto' else reliability
        self._depth, self._group = depth, group
        self._now = (next(iter(types)), self._fixed or 'reliable')
        self._subscription: Any = self._subscribe(self._now)
        self._unheard: set[str] = set()
        self.topic: str = self._subscription.topic_name
        # Steady: simulated time may stand still, or not be there yet.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_LOOK_EVERY_S, self._look, group, clock=steady)
        self._look()

    def destroy(self) -> None:
        """Ends it."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _subscribe(self, wanted: tuple[str, str]) -> Any:
        type_name, reliability = wanted
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

    def _durability_for(self, offers: list[Any]) -> QoSDurabilityPolicy:
        """The durability to subscribe with, to publishers of the type that is taken."""
        return self._durability

    def _look(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        wanted = choose(publishers, tuple(self._types), self._now, self._fixed)
        unheard = cannot_be_heard(publishers, wanted)
        for offer in sorted(unheard - self._unheard):
            self._node.get_logger().warning(
                f'{self.topic} has a publisher of {offer}, of which nothing is received; '
                f'subscribed as {", ".join(wanted)}'
            )
        self._unheard = unheard
        durability = self._durability_for(
            [offer for offer in publishers if offer.topic_type == wanted[0]]
        )
        if self._subscription is None or (wanted, durability) != (self._now, self._durability):
            self._durability = durability
            self._subscribe_anew(wanted)
        self._looked()

    def _subscribe_anew(self, wanted: tuple[str, str]) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None  # until there is another one, perhaps at the next look
        self._subscription = retry_create(lambda: self._subscribe(wanted))
        self._now = wanted
        self._node.get_logger().info(
            f'subscribed to {self.topic} as {", ".join(wanted)}, like its publishers'
        )


def choose(
    publishers: list[Any], types: tuple[str, ...], now: tuple[str, str], fixed: str | None
) -> tuple[str, str]:
    """Type name and reliability to subscribe with.

    Args:
        publishers: TopicEndpointInfo of each.
        types: ROS type names that the node understands.
        now: what the subscription has; kept while there is no publisher.
        fixed: the reliability that a parameter demands, if any.
    """
    offers = [offer for offer in publishers if offer.topic_type in types]
    if not offers:
        return now
    on_offer = [offer.topic_type for offer in offers]
    type_name = now[0] if now[0] in on_offer else on_offer[0]
    best_effort = any(_is_best_effort(offer) for offer in offers if offer.topic_type == type_name)
    return type_name, fixed or ('best_effort' if best_effort else 'reliable')


def cannot_be_heard(publishers: list[Any], now: tuple[str, str]) -> set[str]:
    """Type, or type and reliability, of the publishers of which a subscription gets nothing.

    Only these two can differ: what a subscription of the default durability, deadline and
    liveliness asks for, every publisher offers.

    Args:
        publishers: TopicEndpointInfo of each.
        now: type name and reliability of the subscription.
    """
    type_name, reliability = now
    unheard = {offer.topic_type for offer in publishers} - {type_name}
    if reliability == 'reliable' and any(
        offer.topic_type == type_name and _is_best_effort(offer) for offer in publishers
    ):
        unheard.add(f'{type_name}, best_effort')
    return unheard


def _is_best_effort(offer: Any) -> bool:
    return bool(offer.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT)
