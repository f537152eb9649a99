# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Simulator: random streets with labels, and sensors that sample them."""

from tiny_bev_ros.sim.sensors.lidar import Sweep, scan
from tiny_bev_ros.sim.sensors.lidar_models import LIDARS, Lidar, Mounting
from tiny_bev_ros.sim.world.plan import ego_pose
from tiny_bev_ros.sim.world.scene import CLASSES, Scene
from tiny_bev_ros.sim.world.street import street, street_plan

__all__ = [
    'CLASSES',
    'LIDARS',
    'Lidar',
    'Mounting',
    'Scene',
    'Sweep',
    'ego_pose',
    'scan',
    'street',
    'street_plan',
]
