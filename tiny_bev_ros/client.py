# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BevSubscriber: receives `bev_features`, `pseudo_image` or `pillars` of any encoding."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.messages.pillar_tensor import PillarTensor, decode_pillars
from tiny_bev_ros.messages.tensor import BevTensor, decode_tensor
from tiny_bev_ros.runtime.process import tune_process
from tiny_bev_ros.runtime.stats import InputStats
from tiny_bev_ros.runtime.subscription import SafeSubscription

__all__ = [
    'BevSubscriber',
    'BevTensor',
    'PillarTensor',
    'decode_pillars',
    'decode_tensor',
    'tune_process',
]

# Message classes of tensors, by ROS type name.
TENSOR_TYPES: dict[str, type] = {
    'std_msgs/msg/Float32MultiArray': Float32MultiArray,
    'std_msgs/msg/UInt8MultiArray': UInt8MultiArray,
}


class BevSubscriber(SafeSubscription):
    """Passes each tensor of a topic to a callback, and keeps running when a message is invalid.

    It subscribes with the type and the reliability of the publisher. An invalid message is
    rejected with one line in the log of the node, and counted.

    Args:
        node: node that subscribes.
        topic: relative name, such as 'bev_features'.
        callback: receives a BevTensor, or the result of ``decode``. The array of a BevTensor is
            a view of the message, so that nothing is copied, and belongs to the callback.
        decode: makes the argument of the callback from a message; `decode_pillars` for the
            topic `pillars`.
        reliability: auto (that of the publishers), reliable or best_effort.
        depth: messages that wait while the callback works; 1 drops all but the newest.
        is_active: returns False while messages are only counted and dropped.
        stats: counts the outcomes of messages; by default a new one.

    Attributes:
        stats: outcomes of the messages.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        callback: Callable[[Any], None],
        *,
        decode: Callable[[Any], Any] = decode_tensor,
        reliability: str = 'auto',
        depth: int = 3,
        is_active: Callable[[], bool] = lambda: True,
        stats: InputStats | None = None,
    ) -> None:
        # Imported here: in the first callback it would delay messages and so lose some, and with
        # this module it would precede tune_process().
        import_module('torch')
        self.stats = stats or InputStats(node.get_logger(), time.monotonic_ns)
        super().__init__(
            node,
            topic,
            TENSOR_TYPES,
            decode,
            callback,
            reliability=reliability,
            depth=depth,
            is_active=is_active,
            stats=self.stats,
        )
