# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Publishers of the heads' outputs, registered by the name of the head."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Float32MultiArray
from visualization_msgs.msg import MarkerArray

from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.messages.detections import (
    encode_detection_boxes,
    encode_detections,
    encode_markers,
    encode_no_markers,
    marker_lifetime_s,
    vision_msgs,
)
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.models.registry import register_in
from tiny_bev_ros.nodes.model_factory import make_min_scores
from tiny_bev_ros.nodes.output_publisher import ApplyCallback, OutputPublisher
from tiny_bev_ros.runtime.staleness import to_nanoseconds

# A subscriber that hangs delays the end of a node by no more than this.
_WITHDRAWAL_S = 0.2


@dataclass(frozen=True)
class HeadFrame:
    """Outputs of the heads for one frame, as they are published.

    Attributes:
        outputs: outputs of the heads.
        labels: labels of the BEV features.
        known: (h,w) bool, False for cells that were not observed; None if all were.
        height: height of the ground in the frame of the map, m.
        lifetime_s: time for which markers are shown, s.
    """

    outputs: HeadOutputs
    labels: TensorLabels
    known: np.ndarray | None
    height: float
    lifetime_s: float


_Encode = Callable[[HeadFrame], Any]
# Returns `known` and the height of a HeadFrame; None for the height of the last frame.
ObserveGround = Callable[[], tuple[np.ndarray | None, float | None]]


class HeadPublisher(OutputPublisher):
    """Publishes the output of one head, on as many topics as it has forms.

    Subclasses add their topics in `add_topics` and are registered by `register_head_publisher`.

    Args:
        node: node that publishes.
        values: parameters of the node.

    Attributes:
        needs_ground: True if messages depend on the ground of a frame.
    """

    needs_ground: ClassVar[bool] = False

    def __init__(self, node: Node, values: dict[str, Any]) -> None:
        super().__init__(node)
        self._encoders: dict[str, _Encode] = {}
        self._withdrawals: dict[str, _Encode] = {}
        self._shown: dict[str, HeadFrame] = {}
        self.add_topics(values)

    def add_topics(self, values: dict[str, Any]) -> None:
        """Calls `add_topic` for each form of the head's output."""
        raise NotImplementedError

    def add_topic(
        self,
        topic: str,
        message_type: Any,
        encode: _Encode,
        *,
        withdraw: _Encode | None = None,
        durability: QoSDurabilityPolicy = QoSDurabilityPolicy.VOLATILE,
    ) -> None:
        """Creates the publisher of a topic.

        Args:
            topic: relative name.
            message_type: class of the messages.
            encode: makes the message of a frame.
            withdraw: makes the message that withdraws the last one, for messages that
                subscribers show for ever.
            durability: durability of the publisher.
        """
        profile = QoSProfile(depth=1, durability=durability)
        self._add(topic, self._node.create_publisher(message_type, topic, profile))
        self._encoders[topic] = encode
        if withdraw is not None:
            self._withdrawals[topic] = withdraw

    def publish(self, frame: HeadFrame, topics: frozenset[str]) -> None:
        """Publishes a frame on ``topics``, those with subscribers."""
        for topic, encode in self._encoders.items():
            if topic in topics:
                self.publishers[topic].publish(encode(frame))
                self._shown[topic] = frame

    def withdraw(self) -> None:
        """Withdraws the last messages of topics whose messages stay, and awaits receipt."""
        shown, self._shown = self._shown, {}
        if not self._node.context.ok():
            return  # ROS was shut down first: nothing can be published
        withdrawn = self._withdrawals.keys() & shown.keys()
        for topic in withdrawn:
            self.publishers[topic].publish(self._withdrawals[topic](shown[topic]))
        for topic in withdrawn:
            with suppress(Exception):  # raised by a middleware without acknowledgements
                self.publishers[topic].wait_for_all_acked(Duration(seconds=_WITHDRAWAL_S))


_HEAD_PUBLISHERS: dict[str, type[HeadPublisher]] = {}


def register_head_publisher(
    head: str,
) -> Callable[[type[HeadPublisher]], type[HeadPublisher]]:
    """Class decorator: registers the publisher of a head, by the name of the head.

    Raises:
        TinyBevError: the head has a publisher.
    """
    return register_in(_HEAD_PUBLISHERS, 'head publisher', head)


def head_publisher_names() -> tuple[str, ...]:
    """Returns the names of the heads that have a publisher."""
    return tuple(_HEAD_PUBLISHERS)


@register_head_publisher('detection')
class DetectionPublisher(HeadPublisher):
    """`detection_boxes`, `detection_markers` and, with vision_msgs, `detections`."""

    def add_topics(self, values: dict[str, Any]) -> None:
        """Adds a topic for each form of the detections."""
        self.add_topic('detection_boxes', Float32MultiArray, _boxes)
        self.add_topic('detection_markers', MarkerArray, _markers, withdraw=_no_markers)
        if vision_msgs() is not None:
            self.add_topic('detections', vision_msgs().Detection3DArray, _detections)


@register_head_publisher('drivable')
class DrivablePublisher(HeadPublisher):
    """`drivable_area`, the probability of road surface as an occupancy grid."""

    needs_ground = True

    def add_topics(self, values: dict[str, Any]) -> None:
        """Adds the topic of the drivable area."""
        self.add_topic(
            'drivable_area',
            OccupancyGrid,
            _area,
            withdraw=_no_area,
            durability=getattr(QoSDurabilityPolicy, values['drivable_area.durability'].upper()),
        )


class HeadPublishers(OutputPublisher):
    """The publishers of all heads that a node runs.

    Args:
        node: node that publishes.
        values: parameters of the node.

    Attributes:
        min_scores: lowest score of a detection, for each class.
    """

    def __init__(self, node: Node, values: dict[str, Any]) -> None:
        super().__init__(node)
        self._height, self._last_ns = 0.0, 0
        self._heads = [
            publisher(node, values)
            for head, publisher in _HEAD_PUBLISHERS.items()
            if head in values['heads.names']
        ]
        for each in self._heads:
            self.publishers |= each.publishers
        self._apply(values)

    def publish(
        self,
        outputs: HeadOutputs,
        labels: TensorLabels,
        topics: frozenset[str],
        observe_ground: ObserveGround = lambda: (None, None),
    ) -> None:
        """Publishes the outputs of the heads on ``topics``, those with subscribers.

        Args:
            outputs: outputs for one frame.
            labels: labels of the BEV features.
            topics: topics that have subscribers.
            observe_ground: observes the ground; called when a head needs it, after the heads
                before it are published.
        """
        frame = HeadFrame(outputs, labels, None, self._height, self._lifetime_s(labels))
        for head in self._heads:
            if head.needs_ground:
                known, height = observe_ground()
                self._height = self._height if height is None else height
                frame = replace(frame, known=known, height=self._height)
            head.publish(frame, topics)

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """Returns the callbacks of all heads, and the one that changes the lowest scores."""
        callbacks = [each for head in self._heads for each in head.prepare(values, names)]
        return [*callbacks, lambda: self._apply(values)]

    def withdraw(self) -> None:
        """Deletes markers, and marks all of the drivable area as unknown."""
        for head in self._heads:
            head.withdraw()

    def _apply(self, values: dict[str, Any]) -> None:
        self.min_scores = make_min_scores(values)

    def _lifetime_s(self, labels: TensorLabels) -> float:
        """Returns the lifetime with which markers last until the next, at the input's rate."""
        now_ns = to_nanoseconds(labels.stamp or (0, 0))
        gap_s = (now_ns - (self._last_ns or now_ns)) / 1e9
        self._last_ns = now_ns
        return marker_lifetime_s(gap_s)


def _boxes(frame: HeadFrame) -> Any:
    return encode_detection_boxes(frame.outputs['detection'], frame.labels)


def _markers(frame: HeadFrame) -> Any:
    return encode_markers(frame.outputs['detection'], frame.labels, frame.lifetime_s)


def _no_markers(frame: HeadFrame) -> Any:
    return encode_no_markers(frame.labels)


def _detections(frame: HeadFrame) -> Any:
    return encode_detections(frame.outputs['detection'], frame.labels)


def _area(frame: HeadFrame, known: np.ndarray | None = None) -> Any:
    drivable = frame.outputs['drivable'].numpy()
    known = frame.known if known is None else known
    return encode_drivable(drivable, frame.labels, frame.height, known)


def _no_area(frame: HeadFrame) -> Any:
    return _area(frame, np.zeros(tuple(frame.outputs['drivable'].shape), bool))
