# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled LiDAR frames from the simulator, each with a camera image.

Half of the vehicles are marked: painted in a warning colour that no LiDAR measures. Some images
are taken in the dark and hold nothing but noise, some have glare. So each sensor alone must
miss objects that both together can detect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera, make_camera
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.sensors.lidar import sensor_pose
from tiny_bev_ros.sim.sensors.pinhole_camera import Light, PinholeCamera, optical_mount, render
from tiny_bev_ros.sim.world.colours import ground_colours, part_colours
from tiny_bev_ros.training.augment import mirror
from tiny_bev_ros.training.labelled_frame import Frame

# Classes in the order of their heatmaps; cyclists have none.
CLASSES = ('vehicle', 'pedestrian', 'marked vehicle')
GRID = BevGrid((0.0, 32.0), (-16.0, 16.0), (-3.0, 2.0), 0.25)
PINHOLE = PinholeCamera((256, 96), 110.0, (127.5, 40.0))
# Position of the camera in the LiDAR's frame: x forward, y left, z up, in metres.
_CAMERA_POSITION = np.array([0.3, 0.0, -0.2])
# Fraction of frames in the dark, and light in which the image holds nothing but noise.
_DARK_FRACTION, _DARK = 0.15, Light(0.004)
_GLARE_FRACTION = 0.15
_SENSORS = ('hdl32', 'vlp32')


@dataclass(frozen=True)
class CameraFrame:
    """A labelled cloud with the camera image of its time.

    Attributes:
        lidar: the labelled cloud; its labels are indices into CLASSES, -1 for cyclists.
        image: (H,W,3) uint8, red, green, blue.
        dark: true where nothing is visible in the image.
    """

    lidar: Frame
    image: np.ndarray
    dark: bool


def simulated_camera() -> Camera:
    """Returns the camera that takes all the images."""
    mount = optical_mount(_CAMERA_POSITION)
    return make_camera(PINHOLE.intrinsics(), mount.tolist(), PINHOLE.size)


def simulate_camera_frame(seed: int) -> CameraFrame:
    """Simulates one frame on a street of its own; equal seeds give equal frames."""
    random = np.random.default_rng((seed, 4))
    scene = street(seed)
    mounting = Mounting(random.uniform(1.5, 2.1), *np.radians(random.normal(0, 0.6, 2)).tolist())
    x, y, yaw = ego_pose(street_plan(seed), float(random.uniform(-2, 12)))
    pose = (x, y + random.normal(0, 0.3), yaw + random.normal(0, 0.06))
    sweep = scan(scene, LIDARS[str(random.choice(_SENSORS))], pose, seed, mounting)

    label = scene.objects['label']
    marked = (label == 0) & (random.random(len(label)) < 0.5)
    dark = bool(random.random() < _DARK_FRACTION)
    lidar_position, rotation = sensor_pose(scene, pose, mounting)
    image = render(
        scene,
        (part_colours(scene, seed, marked), ground_colours(scene)),
        PINHOLE,
        lidar_position + rotation @ _CAMERA_POSITION,
        rotation,
        _DARK if dark else _daylight(random),
        seed,
    )
    labels = np.where(marked, 2, np.where(label == 2, -1, label)).astype(np.int64)
    return CameraFrame(_crop(sweep.points, sweep.instance_ids, sweep.boxes, labels), image, dark)


def mirror_camera_frame(frame: CameraFrame) -> CameraFrame:
    """Exchanges left and right in cloud and image: the camera points straight ahead."""
    image = np.ascontiguousarray(frame.image[:, ::-1])
    return CameraFrame(mirror(frame.lidar), image, frame.dark)


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """Converts (H,W,3) uint8 to (3,H,W) float32, 0 to 1."""
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def _daylight(random: np.random.Generator) -> Light:
    return Light(
        float(random.uniform(0.6, 1.1)),
        float(random.uniform(0, 2 * np.pi)),
        float(random.uniform(0.3, 1.2)),
        float(random.uniform(0.4, 1.0)) if random.random() < _GLARE_FRACTION else 0.0,
    )


def _crop(points: np.ndarray, ids: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> Frame:
    """The points on GRID, without intensities; objects keep the points that lie there."""
    (x_low, x_high), (y_low, y_high) = GRID.x_range, GRID.y_range
    inside = (
        (points[:, 0] >= x_low)
        & (points[:, 0] < x_high)
        & (points[:, 1] >= y_low)
        & (points[:, 1] < y_high)
    )
    points = points[inside]
    points[:, 3] = 0
    return Frame(points, ids[inside], boxes, labels)
