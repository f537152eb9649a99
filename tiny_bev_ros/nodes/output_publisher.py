# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Base of all publishers of results, and the topics that have subscribers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.tensor_publisher import TensorPublisher

ENCODING = 'output_encoding'
# Private topics, `~/debug/...`, carry times; all others carry results.
_DEBUG = '~/'
# Puts a prepared change of parameters into force.
ApplyCallback = Callable[[], None]


class OutputPublisher:
    """Topics that are created and destroyed together; subclasses publish on them.

    Args:
        node: node that publishes.

    Attributes:
        publishers: ROS publishers by topic, without those of tensors.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.publishers: dict[str, Any] = {}
        self._tensors: dict[str, TensorPublisher] = {}
        # Topics on which nothing can be published.
        self._unavailable: set[str] = set()

    @property
    def topics(self) -> frozenset[str]:
        """Names of all topics, as they were given."""
        return frozenset({**self.publishers, **self._tensors})

    def subscribed(self) -> set[str]:
        """Returns the topics that have a subscriber and can be published."""
        tensors = {topic: tensor.publisher for topic, tensor in self._tensors.items()}
        publishers = {**self.publishers, **tensors}
        return {
            topic
            for topic, publisher in publishers.items()
            if topic not in self._unavailable and publisher.get_subscription_count()
        }

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """Returns the callbacks that put new parameters into force, in order.

        Args:
            values: all parameters, by name.
            names: names of those that are set.
        """
        return []

    def withdraw(self) -> None:
        """Withdraws messages that subscribers would show for ever; most topics have none."""

    def destroy(self) -> None:
        """Destroys the publishers."""
        for tensor in self._tensors.values():
            tensor.destroy()
        for publisher in self.publishers.values():
            self._node.destroy_publisher(publisher)

    def _add(self, topic: str, publisher: Any) -> None:
        self.publishers[topic] = publisher

    def _add_tensor(self, topic: str, values: dict[str, Any]) -> TensorPublisher:
        tensor = TensorPublisher(self._node, topic, values[ENCODING], values['output_depth'])
        self._tensors[topic] = tensor
        return tensor


@dataclass(frozen=True)
class Subscribers:
    """Topics that have a subscriber, queried from the middleware once for each input.

    Attributes:
        topics: topics of results.
        debug: topics of times.
    """

    topics: frozenset[str] = frozenset()
    debug: frozenset[str] = frozenset()

    @classmethod
    def of(cls, outputs: Iterable[OutputPublisher]) -> Subscribers:
        """Queries all publishers; returns no topics while a publisher is being destroyed."""
        try:
            found = frozenset(topic for each in outputs for topic in each.subscribed())
        except InvalidHandle:
            return cls()
        debug = frozenset(topic for topic in found if topic.startswith(_DEBUG))
        return cls(found - debug, debug)

    def __bool__(self) -> bool:
        return bool(self.topics or self.debug)

    @property
    def only_debug(self) -> bool:
        """True if times have subscribers and no result has: then all stages are timed."""
        return bool(self.debug) and not self.topics


def apply_change(
    callbacks: Iterable[ApplyCallback],
    outputs: Iterable[OutputPublisher],
    before: dict[str, Any],
    names: set[str],
) -> None:
    """Puts a prepared change of parameters into force, or leaves the outputs as they were.

    Args:
        callbacks: callbacks of the change.
        outputs: publishers that the change concerns.
        before: parameters before the change.
        names: names of those that change.

    Raises:
        TinyBevError: the middleware refuses a publisher.
    """
    try:
        for apply in callbacks:
            apply()
    except TinyBevError:
        for output in outputs:
            for undo in output.prepare(before, names):
                undo()
        raise
