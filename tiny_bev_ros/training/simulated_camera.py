# SPDX-License-Identifier: Apache-2.0
"""Labelled frames from the simulator with a camera's picture of them.

Half of the vehicles are marked: painted in a warning colour, and no different to a LiDAR. Some
pictures are taken in the dark, where a camera tells nothing, and some with a light in the lens.
So each sensor alone must miss something that both together need not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera, make_camera
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, plan_of, scan, street
from tiny_bev_ros.sim.sensors.lidar import sensor_pose
from tiny_bev_ros.sim.sensors.pinhole_camera import Light, PinholeCamera, optical_mount, render
from tiny_bev_ros.sim.world.colours import colours_of, ground_colours
from tiny_bev_ros.training import labelled_frame as frames
from tiny_bev_ros.training.labelled_frame import Frame

# By the index of their heat map. Cyclists are none of them.
CLASSES = ('vehicle', 'pedestrian', 'marked vehicle')
GRID = BevGrid((0.0, 32.0), (-16.0, 16.0), (-3.0, 2.0), 0.25)
EYE = PinholeCamera((256, 96), 110.0, (127.5, 40.0))
# Where the camera sits, from the LiDAR: x ahead, y left, z up, in metres.
_CAMERA_AT = np.array([0.3, 0.0, -0.2])
# So dark that the noise of the camera is all there is.
_DARK_SHARE, _DARK = 0.15, Light(0.004)
_GLARE_SHARE = 0.15
_SENSORS = ('hdl32', 'vlp32')


@dataclass(frozen=True)
class CameraFrame:
    """A frame, and what a camera saw at its time.

    Attributes:
        frame: its labels are indices into CLASSES, -1 for cyclists.
        image: (H,W,3) uint8.
        dark: whether nothing is to be seen in it.
    """

    frame: Frame
    image: np.ndarray
    dark: bool


def camera() -> Camera:
    """The one that takes all the pictures."""
    mount = optical_mount(_CAMERA_AT)
    return make_camera(EYE.intrinsics(), mount.tolist(), EYE.size)


def sighted(seed: int) -> CameraFrame:
    """One frame of a street of its own; the same seed gives the same frame."""
    random = np.random.default_rng((seed, 4))
    scene = street(seed)
    mounting = Mounting(random.uniform(1.5, 2.1), *np.radians(random.normal(0, 0.6, 2)).tolist())
    x, y, yaw = ego_pose(plan_of(seed), float(random.uniform(-2, 12)))
    pose = (x, y + random.normal(0, 0.3), yaw + random.normal(0, 0.06))
    sweep = scan(scene, LIDARS[str(random.choice(_SENSORS))], pose, seed, mounting)

    label = scene.objects['label']
    marked = (label == 0) & (random.random(len(label)) < 0.5)
    dark = bool(random.random() < _DARK_SHARE)
    lidar_at, turn = sensor_pose(scene, pose, mounting)
    image = render(
        scene,
        (colours_of(scene, seed, marked), ground_colours(scene)),
        EYE,
        lidar_at + turn @ _CAMERA_AT,
        turn,
        _DARK if dark else _daylight(random),
        seed,
    )
    labels = np.where(marked, 2, np.where(label == 2, -1, label)).astype(np.int64)
    return CameraFrame(_ahead(sweep.points, sweep.instance_ids, sweep.boxes, labels), image, dark)


def _daylight(random: np.random.Generator) -> Light:
    return Light(
        float(random.uniform(0.6, 1.1)),
        float(random.uniform(0, 2 * np.pi)),
        float(random.uniform(0.3, 1.2)),
        float(random.uniform(0.4, 1.0)) if random.random() < _GLARE_SHARE else 0.0,
    )


def mirrored(sight: CameraFrame) -> CameraFrame:
    """Left and right exchanged, in the picture too: the camera looks straight ahead."""
    image = np.ascontiguousarray(sight.image[:, ::-1])
    return CameraFrame(frames.mirrored(sight.frame), image, sight.dark)


def as_input(image: np.ndarray) -> torch.Tensor:
    """(H,W,3) uint8 to (3,H,W) float32, 0 to 1."""
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def _ahead(points: np.ndarray, owner: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> Frame:
    """What lies on the grid, without intensities; objects have the points that lie there."""
    (x_low, x_high), (y_low, y_high) = GRID.x_range, GRID.y_range
    here = (
        (points[:, 0] >= x_low)
        & (points[:, 0] < x_high)
        & (points[:, 1] >= y_low)
        & (points[:, 1] < y_high)
    )
    points = points[here]
    points[:, 3] = 0
    return Frame(points, owner[here], boxes, labels)
