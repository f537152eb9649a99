# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Publisher of the times of each input, on topics named as Autoware's tools know them."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.nodes.output_publisher import OutputPublisher
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.stats import FrameTimes

# Packages of Autoware with stamped numbers: the present one, and that of releases for Humble.
_STAMPED = ('autoware_internal_debug_msgs', 'tier4_debug_msgs')
# Inference stages of a node, by the network that runs in them.
_STAGES = {
    'pfn': ('pillars',),
    'backbone': ('backbone',),
    'camera': ('encoder',),
    'fusion': ('cameras', 'fusion'),
    'heads': ('heads',),
    'refinement': ('refinement',),
}
_PROCESSING = '~/debug/processing_time_ms'
_PIPELINE = '~/debug/pipeline_latency_ms'


def stages_of(models: LoadedModels) -> tuple[str, ...]:
    """Returns the stages of a node with these networks, in order."""
    networks = [network for network in _STAGES if getattr(models, network) is not None]
    # Clouds are levelled where they go through backbone and heads in one node.
    levelling = ('levelling',) if {'pfn', 'backbone'} <= set(networks) else ()
    return (
        'decode',
        *levelling,
        *(stage for each in networks for stage in _STAGES[each]),
        'publish',
    )


class DebugPublisher(OutputPublisher):
    """`~/debug/processing_time_ms`, `~/debug/pipeline_latency_ms` and a topic for each stage.

    Args:
        node: node that publishes.
        stages: names of the node's stages.
    """

    def __init__(self, node: Node, stages: tuple[str, ...]) -> None:
        super().__init__(node)
        self._type = debug_type()
        self._stages = {stage: f'~/debug/processing_time/{stage}_ms' for stage in stages}
        for topic in (_PROCESSING, _PIPELINE, *self._stages.values()):
            self._add(topic, node.create_publisher(self._type, topic, QoSProfile(depth=1)))

    def publish_times(
        self, times: FrameTimes, age_ms: float | None, topics: frozenset[str]
    ) -> None:
        """Publishes the times of one input, of the stages that it went through.

        Args:
            times: times of the input.
            age_ms: time from the stamp of the input to its output, ms; None if unknown.
            topics: topics that have subscribers.
        """
        if _PIPELINE in topics and age_ms is not None:
            self._publish(_PIPELINE, age_ms)
        if _PROCESSING in topics:
            self._publish(_PROCESSING, times.processing_ms())
        for stage, topic in self._stages.items():
            if topic in topics and stage in times.stages_ms:
                self._publish(topic, times.stages_ms[stage])

    def _publish(self, topic: str, value: float) -> None:
        message = self._type(data=value)
        if hasattr(message, 'stamp'):
            message.stamp = self._node.get_clock().now().to_msg()
        self.publishers[topic].publish(message)


def debug_type() -> Any:
    """Returns the stamped number of Autoware's messages if installed, else a plain one."""
    for package in _STAMPED:
        module = import_optional(f'{package}.msg', 'times carry no stamp').module
        found = getattr(module, 'Float64Stamped', None)
        if found is not None:
            return found
    return Float64
