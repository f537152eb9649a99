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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT, MountingEstimate
from tiny_bev_ros.sim import LIDARS, Lidar, Mounting, Scene, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.world.ego_body import ego_body
from tiny_bev_ros.sim.world.parts import Pose, half_sides, joined
from tiny_bev_ros.sim.world.plan import Plan
from tiny_bev_ros.sim.world.terrain import Terrain
from tiny_bev_ros.training.labelled_frame import Frame, Road

# Errors with which frames are levelled: standard deviations in metres and degrees.
_HEIGHT_ERROR, _TILT_ERROR = 0.15, 1.0
# Usual mounting on a car: heights in metres, standard deviation of pitch and roll in degrees.
_USUAL_HEIGHTS, _USUAL_TILT = (1.5, 2.1), 0.6
# Sensors below this height, in metres, may stand on robots.
_ROBOT = 1.0
# Steepest ground in radians on which robots stand: not astride a kerb.
_STEEPEST = 0.06


@dataclass(frozen=True)
class Mountings:
    """Range of mountings, one of which is drawn for each frame.

    Attributes:
        heights: lowest and highest height above the ground, in metres.
        max_tilt: largest pitch and roll in degrees, of both signs; None for a Gaussian with a
            standard deviation of 0.6 degrees.
        usual: fraction of frames with the usual mounting on a car instead: 1.5 to 2.1 m, tilts
            of the Gaussian.
        robots: fraction of frames with a sensor below 1 m that stands anywhere on road or
            pavement; the others are in the right lane.
        own_body: fraction of frames with points of the vehicle that carries the sensor.
        levelled: true for frames in which the ground at the sensor is level at z = -1.73 m, up
            to a Gaussian error of 0.15 m and 1 degree; false for the frame of the sensor.
    """

    heights: tuple[float, float] = _USUAL_HEIGHTS
    max_tilt: float | None = None
    usual: float = 0.0
    robots: float = 0.0
    own_body: float = 0.0
    levelled: bool = False

    def __post_init__(self) -> None:
        """Checks the heights.

        Raises:
            TinyBevError: the heights are not a lowest and a highest one.
        """
        if len(self.heights) != 2 or not 0 < self.heights[0] <= self.heights[1]:
            raise TinyBevError(
                f'mountings.heights is {list(self.heights)}; expected the lowest and the highest'
            )


def simulate_lidar_frame(
    seed: int,
    lidars: Sequence[str | Lidar],
    mountings: Mountings | Mounting | None = None,
) -> Frame:
    """Simulates one frame of a LiDAR on a street of its own.

    Args:
        seed: seed of street and sensor; equal seeds give equal frames.
        lidars: sensors, or names of LIDARS, one of which is drawn.
        mountings: range of mountings, by default the usual ones on a car; or one mounting.
    """
    fixed = mountings if isinstance(mountings, Mounting) else None
    mountings = mountings if isinstance(mountings, Mountings) else Mountings()
    # A second number in the seed, as the street's own random numbers would be repeated.
    random, extra = np.random.default_rng((seed, 1)), np.random.default_rng((seed, 5))
    drawn = lidars[int(random.choice(len(lidars)))]
    lidar = LIDARS[drawn] if isinstance(drawn, str) else drawn
    scene, plan = street(seed), street_plan(seed)
    # Drawn in any case, as a street has one pose for all mountings of cars.
    mounting = _draw_mounting(random, extra, mountings, lidar)
    mounting = fixed or mounting
    x, y, yaw = ego_pose(plan, float(random.uniform(-2, 12)))
    pose = (x, y + random.normal(0, 0.3), yaw + random.normal(0, 0.06))
    if mounting.height < _ROBOT and extra.random() < mountings.robots:
        pose = _robot_pose(extra, scene, plan) or pose
    bodied = scene
    if extra.random() < mountings.own_body:
        bodied = _with_body(extra, scene, pose, mounting.height)
    sweep = scan(bodied, lidar, pose, seed, mounting)
    frame = Frame(
        sweep.points,
        sweep.instance_ids,
        sweep.boxes,
        scene.objects['label'].astype(np.int64),
        _road(scene.terrain, pose),
        whole=lidar.around,
    )
    return _level(frame, mounting, extra) if mountings.levelled else frame


def _draw_mounting(
    random: np.random.Generator,
    extra: np.random.Generator,
    mountings: Mountings,
    lidar: Lidar,
) -> Mounting:
    """Draws a mounting; a sensor of unusual heights keeps to its own where the range allows."""
    usual = extra.random() < mountings.usual and _overlap(_USUAL_HEIGHTS, lidar.heights)
    asked = _USUAL_HEIGHTS if usual else mountings.heights
    low, high = _overlap(asked, lidar.heights) or asked
    height = random.uniform(low, high)
    pitch, roll = np.radians(random.normal(0, _USUAL_TILT, 2)).tolist()
    if mountings.max_tilt is not None and not usual:
        limit = np.radians(mountings.max_tilt)
        pitch, roll = extra.uniform(-limit, limit, 2).tolist()
    return Mounting(height, pitch, roll)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float] | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def _robot_pose(
    random: np.random.Generator, scene: Scene, plan: Plan
) -> tuple[float, float, float] | None:
    """Draws a free pose on road or pavement, along the road; None if none is found."""
    for _ in range(20):
        side = plan.left if random.random() < 0.5 else plan.right
        offset = side.sign * random.uniform(0, side.road)
        if side.pavement and random.random() < 0.7:
            offset = side.sign * (side.road + random.uniform(0.15, 0.85) * side.pavement)
        yaw = random.choice([0.0, np.pi]) + random.normal(0, 0.2)
        pose = plan.pose(float(random.uniform(-30, 60)), offset, yaw)
        lean = np.abs(scene.terrain.attitude(*pose)).max()
        if lean < _STEEPEST and _is_free(scene, pose):
            return pose
    return None


def _is_free(scene: Scene, pose: tuple[float, float, float], radius: float = 0.8) -> bool:
    """Returns True if nothing below 2.5 m stands within a radius of a pose."""
    parts, half = scene.parts, half_sides(scene.parts)
    x, y = (parts['position'][:, :2] - pose[:2]).T
    cos, sin = np.cos(parts['angles'][:, 0]), np.sin(parts['angles'][:, 0])
    near = (np.abs(cos * x + sin * y) < half[:, 0] + radius) & (
        np.abs(cos * y - sin * x) < half[:, 1] + radius
    )
    low = parts['position'][:, 2] - half[:, 2] < scene.terrain.height(*pose[:2]) + 2.5
    return not (near & low).any()


def _with_body(
    random: np.random.Generator, scene: Scene, pose: tuple[float, float, float], height: float
) -> Scene:
    """Returns the scene with the body of the vehicle that carries the sensor."""
    x, y, yaw = pose
    on_ground = Pose(x, y, scene.terrain.height(x, y), yaw, *scene.terrain.attitude(x, y, yaw))
    return replace(scene, parts=joined([scene.parts, ego_body(random, on_ground, height)]))


def _level(frame: Frame, mounting: Mounting, random: np.random.Generator) -> Frame:
    """Takes a frame to level ground at the nominal height, by the mounting with an error."""
    pitch, roll = np.radians(random.normal(0, _TILT_ERROR, 2)).tolist()
    height = mounting.height + random.normal(0, _HEIGHT_ERROR)
    assumed = MountingEstimate(height, mounting.pitch + pitch, mounting.roll + roll)
    return frame.levelled(Levelling(assumed.rotation, height - NOMINAL_HEIGHT))


def _road(terrain: Terrain, pose: tuple[float, float, float]) -> Road:
    x, y, yaw = pose
    cos, sin = np.cos(yaw), np.sin(yaw)
    return Road(terrain, np.array([[cos, -sin, x], [sin, cos, y]]))
