# SPDX-License-Identifier: Apache-2.0
"""Times of each input on topics of their own, named as Autoware's tools know them."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.stats import FrameTimes

# Stamped numbers, as Autoware's tools read them: of today, of its releases for Humble.
_STAMPED = ('autoware_internal_debug_msgs', 'tier4_debug_msgs')
# The stages that take time, by the network of a node that has them.
_STAGES = {
    'pfn': ('pillars',),
    'backbone': ('backbone',),
    'camera': ('encoder',),
    'fusion': ('cameras', 'fusion'),
    'heads': ('heads',),
}


def stages_of(weights: LoadedModels) -> tuple[str, ...]:
    """The stages of a node with these networks."""
    parts = [part for part in _STAGES if getattr(weights, part) is not None]
    return ('decode', *(stage for part in parts for stage in _STAGES[part]), 'publish')


class DebugPublisher:
    """`~/debug/processing_time_ms`, `~/debug/pipeline_latency_ms` and a topic for each stage.

    Args:
        node: which publishes.
        stages: that it has.
    """

    def __init__(self, node: Node, stages: tuple[str, ...]) -> None:
        self._node, self._type = node, debug_type()
        names = ['processing_time_ms', 'pipeline_latency_ms']
        self._stages = {stage: f'processing_time/{stage}_ms' for stage in stages}
        self._publishers = {
            name: node.create_publisher(self._type, f'~/debug/{name}', QoSProfile(depth=1))
            for name in [*names, *self._stages.values()]
        }

    @property
    def wanted(self) -> bool:
        """True if anybody subscribes to any."""
        return any(each.get_subscription_count() for each in self._publishers.values())

    def publish_times(self, times: FrameTimes) -> None:
        """Publishes the times of one input, of the stages that it went through."""
        self.publish('processing_time_ms', times.processing_ms())
        for stage, name in self._stages.items():
            if stage in times.stages_ms:
                self.publish(name, times.stages_ms[stage])

    def publish(self, name: str, value: float) -> None:
        """Publishes a number for those who subscribe to it."""
        publisher = self._publishers[name]
        if publisher.get_subscription_count() == 0:
            return
        message = self._type(data=value)
        if hasattr(message, 'stamp'):
            message.stamp = self._node.get_clock().now().to_msg()
        publisher.publish(message)

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)


def debug_type() -> Any:
    """A stamped number where Autoware's messages are installed, else a plain one."""
    for package in _STAMPED:
        module = import_optional(f'{package}.msg', 'times carry no stamp').module
        found = getattr(module, 'Float64Stamped', None)
        if found is not None:
            return found
    return Float64
