# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.cameras import IMAGE_TYPE, INFO_TYPE, BagCamera, find_camera, find_pose
from tiny_bev_ros.bag.reader import Bag, BagMessage, write_bag
from tiny_bev_ros.errors import TinyBevError

STORE = get_typestore(Stores.ROS2_JAZZY)
TF = 'tf2_msgs/msg/TFMessage'
HALF = np.sqrt(0.5)
# Rotation of the optical axes of a camera that faces ahead.
AHEAD = (-0.5, 0.5, -0.5, 0.5)


def transform(parent, child, translation, rotation=(0, 0, 0, 1)):
    types = STORE.types
    stamp = types['builtin_interfaces/msg/Time'](sec=1, nanosec=0)
    return types['geometry_msgs/msg/TransformStamped'](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=parent),
        child_frame_id=child,
        transform=types['geometry_msgs/msg/Transform'](
            translation=types['geometry_msgs/msg/Vector3'](*map(float, translation)),
            rotation=types['geometry_msgs/msg/Quaternion'](*map(float, rotation)),
        ),
    )


def bag_with(path, transforms, topics=()):
    messages = []
    for index, each in enumerate(transforms):
        message = STORE.types[TF](transforms=[each])
        messages.append(BagMessage('/tf', index, bytes(STORE.serialize_cdr(message, TF))))
    write_bag(path, {'/tf': TF, **dict(topics)}, messages)
    return Bag(path)


def test_over_one_transform(tmp_path):
    with bag_with(tmp_path / 'bag', [transform('lidar', 'optical', (1, 2, 3), AHEAD)]) as bag:
        assert find_pose(bag, 'lidar', 'optical') == pytest.approx([1, 2, 3, *AHEAD])


def test_over_a_common_parent(tmp_path):
    """The sensor is turned to the left: forward in its parent is to the right of the sensor."""
    transforms = [
        transform('base', 'lidar', (0, 0, 2), (0, 0, HALF, HALF)),
        transform('base', 'mast', (3, 0, 0)),
        transform('mast', 'optical', (0, 1, 1)),
    ]
    with bag_with(tmp_path / 'bag', transforms) as bag:
        pose = find_pose(bag, 'lidar', 'optical')
        back = find_pose(bag, 'optical', 'lidar')
    assert pose == pytest.approx([1, -3, -1, 0, 0, -HALF, HALF])
    assert back == pytest.approx([-3, -1, 1, 0, 0, HALF, HALF])


def test_the_first_of_several_counts(tmp_path):
    transforms = [transform('a', 'b', (1, 0, 0)), transform('a', 'b', (2, 0, 0))]
    with bag_with(tmp_path / 'bag', transforms) as bag:
        assert find_pose(bag, 'a', 'b')[0] == 1


def test_a_damaged_transform_is_named(tmp_path):
    write_bag(tmp_path / 'bag', {'/tf': TF}, [BagMessage('/tf', 1, b'\0\1\0\0\7\0\0\0')])
    with (
        Bag(tmp_path / 'bag') as bag,
        pytest.raises(TinyBevError, match=r'a message on /tf of .* is damaged .*; expected tf2'),
    ):
        find_pose(bag, 'a', 'b')


def test_without_a_chain_of_transforms(tmp_path):
    with (
        bag_with(tmp_path / 'bag', [transform('a', 'b', (1, 0, 0))]) as bag,
        pytest.raises(TinyBevError, match=r"lead from 'a' to \['a', 'b'\]; expected 'c'"),
    ):
        find_pose(bag, 'a', 'c')


def test_cameras(tmp_path):
    topics = {
        '/front/image': IMAGE_TYPE,
        '/front/camera_info': INFO_TYPE,
        '/depth/image': IMAGE_TYPE,
        '/left/image_rect': IMAGE_TYPE,
        '/left/camera_info': INFO_TYPE,
    }
    with bag_with(tmp_path / 'bag', [], topics) as bag:
        expected = BagCamera('/left/image_rect', '/left/camera_info')
        assert find_camera(bag, '/left/image_rect') == expected
        for wrong in ('', '/depth/image', '/right/image'):
            with pytest.raises(TinyBevError, match=r"expected one of \['/front/image', '/left"):
                find_camera(bag, wrong)


def test_the_kitti_bag(data_dir):
    with Bag(data_dir / 'bags_derived' / 'kitti_open_mcap') as bag:
        camera = find_camera(bag)
        pose = find_pose(bag, 'velodyne', 'camera_2')
    assert camera == BagCamera('/camera_2/image_rect_color', '/camera_2/camera_info')
    assert pose[:3] == pytest.approx([0.332, -0.022, -0.062], abs=1e-3)
    assert np.abs(pose[3:]) == pytest.approx(0.5, abs=0.01)
