# SPDX-License-Identifier: Apache-2.0
"""A small LiDAR simulator in NumPy: solids, a spinning sensor, and a street to drive in."""

from tiny_bev_ros.sim.lidar import Lidar, scan
from tiny_bev_ros.sim.scene import Box, Cylinder, Ground, Scene, Solid, Spheres, Surface
from tiny_bev_ros.sim.street import street

__all__ = [
    'Box',
    'Cylinder',
    'Ground',
    'Lidar',
    'Scene',
    'Solid',
    'Spheres',
    'Surface',
    'scan',
    'street',
]
