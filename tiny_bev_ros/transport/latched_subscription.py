# SPDX-License-Identifier: Apache-2.0
"""A subscription that also gets what was published before it, where publishers keep that."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy

from tiny_bev_ros.transport.adaptive_subscription import AdaptiveSubscription

_KEPT = QoSDurabilityPolicy.TRANSIENT_LOCAL


class LatchedSubscription(AdaptiveSubscription):
    """An AdaptiveSubscription that is transient local while all publishers are.

    It is for what may be published once and for all, as a calibration.

    Args:
        node, topic, *options: of AdaptiveSubscription.
    """

    def __init__(self, node: Node, topic: str, *options: Any) -> None:
        self._watched = node.resolve_topic_name(topic)
        super().__init__(node, topic, *options)

    def _look(self) -> None:
        offers = self._node.get_publishers_info_by_topic(self._watched)
        if offers:
            self._follow(offers)
        super()._look()

    def _follow(self, offers: list[Any]) -> None:
        all_keep = all(offer.qos_profile.durability == _KEPT for offer in offers)
        wanted = _KEPT if all_keep else QoSDurabilityPolicy.VOLATILE
        if wanted != self._durability:
            self._durability = wanted
            self._now = ('', '')  # is not what it should be, so that it subscribes anew
