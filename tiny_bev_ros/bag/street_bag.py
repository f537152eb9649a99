# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bag of a simulated drive down a street."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rclpy.serialization import serialize_message
from tqdm import tqdm

from tiny_bev_ros.bag.reader import CLOUD_TYPE, BagMessage, write_bag
from tiny_bev_ros.bag.street_camera import CAMERA_TOPICS, StreetCamera
from tiny_bev_ros.messages.detections import encode_detection_boxes
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan
from tiny_bev_ros.training.labelled_frame import MIN_POINTS
from tiny_bev_ros.whole_number import whole_number

TOPIC = '/points'
LABELS = '/labels'
FRAME = 'lidar'
_PERIOD_NS = 100_000_000
_SPEED = 8.0
# A fixed date makes bags reproducible.
_START_NS = 1_700_000_000 * 10**9


def sweeps(count: int, seed: int, camera: bool = False) -> Iterator[BagMessage]:
    """Yields clouds and labels of the drive, and the messages of a camera if there is one."""
    scene, plan = street(seed), street_plan(seed)
    street_camera = StreetCamera(scene, seed, FRAME) if camera else None
    for index in tqdm(range(count), unit='sweep', desc='simulating', disable=None):
        seconds = index * _PERIOD_NS / 1e9
        pose = ego_pose(plan, _SPEED * seconds)
        sweep = scan(scene.at(seconds), LIDARS['hdl64'], pose, seed + index)
        time_ns = _START_NS + index * _PERIOD_NS
        stamp = divmod(time_ns, 10**9)
        cloud = encode_cloud(sweep.points, stamp, FRAME)
        yield BagMessage(TOPIC, time_ns, bytes(serialize_message(cloud)))
        visible = (sweep.counts >= MIN_POINTS) & (scene.objects['label'] >= 0)
        labels = Detections(
            torch.from_numpy(sweep.boxes[visible]),
            torch.ones(int(visible.sum())),
            torch.from_numpy(scene.objects['label'][visible].astype(np.int64)),
        )
        message = encode_detection_boxes(labels, TensorLabels(stamp, FRAME))
        yield BagMessage(LABELS, time_ns, bytes(serialize_message(message)))
        if street_camera is not None:
            yield from street_camera.messages(scene.at(seconds), pose, time_ns, seed + index)


def make_street_bag(
    path: str | Path, count: int = 20, seed: int = 0, camera: bool = False
) -> None:
    """Writes a bag with clouds on /points at 10 Hz, driving at 8 m/s, and objects on /labels.

    Args:
        path: folder of the new bag.
        count: number of sweeps.
        seed: seed of the street and the noise.
        camera: True to add a camera: /camera/image, /camera/camera_info and /tf_static.

    Raises:
        TinyBevError: the path exists or cannot be written.
    """
    topics = {TOPIC: CLOUD_TYPE, LABELS: 'std_msgs/msg/Float32MultiArray'}
    if camera:
        topics |= CAMERA_TOPICS
    write_bag(path, topics, sweeps(count, seed, camera))


@reports_errors('make_street_bag')
def main() -> int:
    """Entry point of the make_street_bag executable; returns its exit code."""
    parser = argparse.ArgumentParser(prog='make_street_bag', description=__doc__)
    parser.add_argument('out', help='folder of the new bag')
    parser.add_argument(
        '--sweeps',
        type=whole_number(1),
        default=20,
        help='number of sweeps at 10 Hz (default: 20)',
    )
    parser.add_argument(
        '--seed', type=whole_number(0), default=0, help='seed of the street (default: 0)'
    )
    parser.add_argument('--camera', action='store_true', help='add a camera beside the LiDAR')
    options = parser.parse_args()
    make_street_bag(options.out, options.sweeps, options.seed, options.camera)
    print(f'{options.sweeps} sweeps on {TOPIC} in {options.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
