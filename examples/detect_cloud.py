#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Finds objects in one point cloud, without ROS, and prints their boxes.

python examples/detect_cloud.py                # a simulated street
python examples/detect_cloud.py 000008.bin     # a cloud in KITTI's form
"""

import sys

import numpy as np

from tiny_bev_ros import Detector


def load_points(path):
    """Returns (N,4) float32 x, y, z in metres and intensity, of a file or a simulation."""
    if path:
        return np.fromfile(path, np.float32).reshape(-1, 4)
    from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

    return scan(street(0), LIDARS['hdl64'], ego_pose(street_plan(0), 0.0)).points


def main(path=''):
    """Prints a line for each object."""
    detector = Detector('street')  # 51.2 m ahead, 25.6 m to either side
    result = detector(load_points(path), min_scores=0.3)
    for each in result.objects:
        print(
            f'{each.label:10} {each.score:.2f}  at {each.x:5.1f} {each.y:5.1f} {each.z:5.1f} m  '
            f'{each.length:.1f} x {each.width:.1f} x {each.height:.1f} m  yaw {each.yaw:+.2f}'
        )
    print(f'{len(result.objects)} objects in {sum(result.seconds.values()) * 1e3:.0f} ms')


if __name__ == '__main__':
    main(*sys.argv[1:])
