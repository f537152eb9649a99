# SPDX-License-Identifier: Apache-2.0
"""Prints shape, stamp and frame of the BEV features that a node publishes."""

import rclpy

from tiny_bev_ros.client import BevSubscriber, BevTensor, tune_process


def on_features(bev: BevTensor) -> None:
    """Gets each message; `bev.array` is a NumPy view of its data, (B, C, h, w)."""
    print(bev.array.shape, bev.labels)


tune_process()  # makes large messages faster
rclpy.init()
node = rclpy.create_node('listener')
subscriber = BevSubscriber(node, 'bev_features', on_features)
rclpy.spin(node)
