# SPDX-License-Identifier: Apache-2.0
"""What nodes publish of the heads: objects in three forms, and the drivable area."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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
    vision_msgs,
)
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.nodes.publishers import ApplyCallback, Output
from tiny_bev_ros.runtime.staleness import to_nanoseconds

# How long markers are shown: so many times the time between two frames, within these bounds.
_FRAMES_SHOWN, _SHORTEST_S, _LONGEST_S = 3, 1.0, 10.0
# For what is withdrawn to arrive: a subscriber that hangs is not waited for longer.
_WITHDRAWAL_S = 0.2


@dataclass(frozen=True)
class _Frame:
    """A frame as it is published."""

    seen: HeadOutputs
    labels: TensorLabels
    known: np.ndarray | None
    height: float
    lifetime_s: float

    @property
    def detections(self) -> Detections:
        assert self.seen.detections is not None
        return self.seen.detections

    @property
    def drivable(self) -> np.ndarray:
        assert self.seen.drivable is not None
        return self.seen.drivable.numpy()


_Encode = Callable[[_Frame], Any]


class HeadPublisher(Output):
    """`detections`, `detection_markers`, `detection_boxes` and `drivable_area`, each for who asks.

    Args:
        node: which publishes.
        values: the node's parameters.

    Attributes:
        min_scores: from which on an object counts, for each class.
    """

    def __init__(self, node: Node, values: dict[str, Any]) -> None:
        self._node = node
        self._adopt(values)
        self._publishers: list[tuple[Any, _Encode]] = []
        # By publisher: the message that takes back the last one, which would be shown for ever.
        self._withdrawals: dict[Any, _Encode] = {}
        self._shown: dict[Any, _Frame] = {}
        self._height = 0.0
        self._last_ns: int | None = None
        self._area: Any = None
        if 'detection' in values['heads.names']:
            self._add('detection_boxes', Float32MultiArray, _objects)
            markers = self._add('detection_markers', MarkerArray, _markers)
            self._withdrawals[markers] = _no_markers
            if vision_msgs() is not None:
                self._add('detections', vision_msgs().Detection3DArray, _detections)
        if 'drivable' in values['heads.names']:
            durability = getattr(QoSDurabilityPolicy, values['drivable_area.durability'].upper())
            self._area = self._add('drivable_area', OccupancyGrid, _area, durability)
            self._withdrawals[self._area] = _no_area

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to any."""
        return any(_is_wanted(publisher) for publisher, _ in self._publishers)

    @property
    def area_wanted(self) -> bool:
        """True if anybody subscribes to the drivable area."""
        return self._area is not None and _is_wanted(self._area)

    def publish(
        self,
        seen: HeadOutputs,
        labels: TensorLabels,
        *,
        known: np.ndarray | None = None,
        height: float | None = None,
    ) -> None:
        """Publishes what the heads see.

        Args:
            seen: in one frame.
            labels: of the features.
            known: (h,w) bool, false for cells that nothing is known of; None for no such cell.
            height: of the ground in the frame of the map, m; None for the one before.
        """
        self._height = self._height if height is None else height
        frame = _Frame(seen, labels, known, self._height, self._lifetime_s(labels))
        for publisher, encode in self._publishers:
            if _is_wanted(publisher):
                publisher.publish(encode(frame))
                self._shown[publisher] = frame

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[ApplyCallback]:
        """What is to be done for these parameters to hold."""
        return [lambda: self._adopt(values)]

    def withdraw(self) -> None:
        """Deletes markers, and says of the drivable area that nothing is known."""
        shown, self._shown = self._shown, {}
        if not self._node.context.ok():
            return  # somebody shut ROS down first: nothing can be published
        withdrawn = self._withdrawals.keys() & shown.keys()
        for publisher in withdrawn:
            publisher.publish(self._withdrawals[publisher](shown[publisher]))
        for publisher in withdrawn:
            with suppress(Exception):  # of a middleware that cannot tell
                publisher.wait_for_all_acked(Duration(seconds=_WITHDRAWAL_S))

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher, _ in self._publishers:
            self._node.destroy_publisher(publisher)

    def _adopt(self, values: dict[str, Any]) -> None:
        self.min_scores = tuple(values[f'detection.min_score.{name}'] for name in CLASSES)

    def _add(
        self,
        topic: str,
        kind: Any,
        encode: _Encode,
        durability: QoSDurabilityPolicy = QoSDurabilityPolicy.VOLATILE,
    ) -> Any:
        profile = QoSProfile(depth=1, durability=durability)
        publisher = self._node.create_publisher(kind, topic, profile)
        self._publishers.append((publisher, encode))
        return publisher

    def _lifetime_s(self, labels: TensorLabels) -> float:
        """A lifetime with which markers last until the next ones, at the rate of the input."""
        now_ns = to_nanoseconds(labels.stamp or (0, 0))
        gap_s = (now_ns - (self._last_ns or now_ns)) / 1e9
        self._last_ns = now_ns
        return min(max(_FRAMES_SHOWN * gap_s, _SHORTEST_S), _LONGEST_S)


def _is_wanted(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0


def _objects(frame: _Frame) -> Any:
    return encode_detection_boxes(frame.detections, frame.labels)


def _markers(frame: _Frame) -> Any:
    return encode_markers(frame.detections, frame.labels, frame.lifetime_s)


def _no_markers(frame: _Frame) -> Any:
    return encode_no_markers(frame.labels)


def _detections(frame: _Frame) -> Any:
    return encode_detections(frame.detections, frame.labels)


def _area(frame: _Frame) -> Any:
    return encode_drivable(frame.drivable, frame.labels, frame.height, frame.known)


def _no_area(frame: _Frame) -> Any:
    nothing = np.zeros(frame.drivable.shape, bool)
    return encode_drivable(frame.drivable, frame.labels, frame.height, nothing)
