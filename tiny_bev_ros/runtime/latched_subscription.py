# SPDX-License-Identifier: Apache-2.0
"""A subscription that also gets what was published before it, where publishers keep that."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSDurabilityPolicy

from tiny_bev_ros.runtime.adaptive_subscription import AdaptiveSubscription

_KEPT = QoSDurabilityPolicy.TRANSIENT_LOCAL


class LatchedSubscription(AdaptiveSubscription):
    """An AdaptiveSubscription that is transient local while all publishers are.

    It is for what may be published once and for all, as a calibration.

    Args:
        *arguments: of AdaptiveSubscription.
    """

    def _durability_for(self, offers: list[Any]) -> QoSDurabilityPolicy:
        if not offers:
            return self._durability
        all_keep = all(offer.qos_profile.durability == _KEPT for offer in offers)
        return _KEPT if all_keep else QoSDurabilityPolicy.VOLATILE
