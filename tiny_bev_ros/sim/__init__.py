# SPDX-License-Identifier: Apache-2.0
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
