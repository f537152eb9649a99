# SPDX-License-Identifier: Apache-2.0
"""What nodes publish of the heads: objects in three forms, and the drivable area."""

from __future__ import annotations

from typing import Any

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float32MultiArray
from visualization_msgs.msg import MarkerArray

from tiny_bev_ros.engine.heads import Seen
from tiny_bev_ros.messages.markers import encode_markers
from tiny_bev_ros.messages.objects import encode_objects
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.messages.vision import encode_detections, vision_msgs
from tiny_bev_ros.models.detection_head import CLASSES
from tiny_bev_ros.nodes.outputs import Adopt


class HeadOutput:
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
        self._publishers: list[tuple[Any, Any]] = []
        if 'detection' in values['heads']:
            self._add('detection_boxes', Float32MultiArray, _objects)
            self._add('detection_markers', MarkerArray, _markers)
            if vision_msgs() is not None:
                self._add('detections', vision_msgs().Detection3DArray, _detections)
        if 'drivable' in values['heads']:
            self._add('drivable_area', OccupancyGrid, _area)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to any."""
        return any(_is_wanted(publisher) for publisher, _ in self._publishers)

    def publish(self, seen: Seen, labels: TensorLabels) -> None:
        """Publishes what the heads see; the labels are those of the features."""
        for publisher, encode in self._publishers:
            if _is_wanted(publisher):
                publisher.publish(encode(seen, labels))

    def prepare(self, values: dict[str, Any], names: set[str]) -> list[Adopt]:
        """What is to be done for these parameters to hold."""
        return [lambda: self._adopt(values)]

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher, _ in self._publishers:
            self._node.destroy_publisher(publisher)

    def _adopt(self, values: dict[str, Any]) -> None:
        self.min_scores = tuple(values[f'detection.min_score.{name}'] for name in CLASSES)

    def _add(self, topic: str, kind: Any, encode: Any) -> None:
        publisher = self._node.create_publisher(kind, topic, QoSProfile(depth=1))
        self._publishers.append((publisher, encode))


def _is_wanted(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0


def _objects(seen: Seen, labels: TensorLabels) -> Any:
    assert seen.detections is not None
    return encode_objects(seen.detections, labels)


def _markers(seen: Seen, labels: TensorLabels) -> Any:
    assert seen.detections is not None
    return encode_markers(seen.detections, labels)


def _detections(seen: Seen, labels: TensorLabels) -> Any:
    assert seen.detections is not None
    return encode_detections(seen.detections, labels)


def _area(seen: Seen, labels: TensorLabels) -> Any:
    assert seen.drivable is not None
    return encode_drivable(seen.drivable.numpy(), labels)
