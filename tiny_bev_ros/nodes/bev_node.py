# SPDX-License-Identifier: Apache-2.0
"""What all nodes of the package do with parameters, input and errors."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node

from tiny_bev_ros.nodes import build, parameters
from tiny_bev_ros.transport.tally import Tally


class BevNode(Node):
    """One input topic, outputs that somebody may want, and a tally of what happened.

    Attributes:
        values: the parameters of the node by name.
        device: where it computes.
        tally: what became of its input.

    Args:
        name: of the node; a key of parameters.NODES.
        **node_options: of rclpy's Node.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self.values = parameters.declare(self, parameters.NODES[name])
        self.device = build.make_device(self.values, self.get_logger())
        self.tally = Tally(self.get_logger(), time.monotonic_ns)

    def input_options(self) -> dict[str, Any]:
        """Of an Input: the parameters, the tally, and to look only at what is wanted."""
        return {
            'reliability': self.values['input_reliability'],
            'depth': self.values['input_depth'],
            'wanted': lambda: self.wanted,
            'tally': self.tally,
        }

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to what the node publishes."""
        raise NotImplementedError

    def destroy_node(self) -> None:
        """Says what became of the input, and ends."""
        self.get_logger().info(str(self.tally))
        super().destroy_node()
