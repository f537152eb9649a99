# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled LiDAR frames from the simulator."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.world.terrain import Terrain
from tiny_bev_ros.training.labelled_frame import Frame, Road


def simulate_lidar_frame(
    seed: int, lidars: tuple[str, ...], mountings: Mounting | None = None
) -> Frame:
    """Simulates one whole turn of a LiDAR on a street of its own.

    Args:
        seed: seed of street and sensor; equal seeds give equal frames.
        lidars: names of sensors, one of which is drawn.
        mountings: the mounting; by default one is drawn.
    """
    # A second number in the seed, as the street's own random numbers would be repeated.
    random = np.random.default_rng((seed, 1))
    lidar = str(random.choice(lidars))
    scene = street(seed)
    drawn = Mounting(random.uniform(1.5, 2.1), *np.radians(random.normal(0, 0.6, 2)).tolist())
    mounting = mountings or drawn
    x, y, yaw = ego_pose(street_plan(seed), float(random.uniform(-2, 12)))
    pose = (x, y + random.normal(0, 0.3), yaw + random.normal(0, 0.06))
    sweep = scan(scene, LIDARS[lidar], pose, seed, mounting)
    return Frame(
        sweep.points,
        sweep.instance_ids,
        sweep.boxes,
        scene.objects['label'].astype(np.int64),
        _road(scene.terrain, pose),
        whole=True,
    )


def _road(terrain: Terrain, pose: tuple[float, float, float]) -> Road:
    x, y, yaw = pose
    cos, sin = np.cos(yaw), np.sin(yaw)
    return Road(terrain, np.array([[cos, -sin, x], [sin, cos, y]]))
