# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
