# SPDX-License-Identifier: Apache-2.0
"""What every subscriber of the package does with a message: count, decode, hand on or refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.transport.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.transport.tally import Tally


class Input:
    """A subscription that stays up whatever comes in.

    Args:
        node: which subscribes.
        topic: relative name.
        types: message classes by ROS type name.
        decode: makes of a message what the callback takes, or raises TinyBevError.
        callback: gets it; may raise TinyBevError as well.
        reliability: auto (as the publishers do), reliable or best_effort.
        depth: messages that wait while one is worked on.
        wanted: whether it is worth while to look at a message.
        tally: counts what became of each.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        types: dict[str, type],
        decode: Callable[[Any], Any],
        callback: Callable[[Any], None],
        *,
        reliability: str,
        depth: int,
        wanted: Callable[[], bool],
        tally: Tally,
    ) -> None:
        self._topic, self._decode, self._callback = topic, decode, callback
        self._wanted, self._tally = wanted, tally
        self._subscription = AdaptiveSubscription(
            node, topic, types, self._receive, reliability, depth
        )

    def _receive(self, message: Any) -> None:
        self._tally.received += 1
        if not self._wanted():
            self._tally.skipped += 1
            return
        try:
            self._callback(self._decode(message))
        except TinyBevError as error:
            self._tally.reject(self._topic, error)
        else:
            self._tally.published += 1
