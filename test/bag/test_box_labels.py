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

import array
from pathlib import Path

import numpy as np
import pytest
import torch
from rclpy.serialization import serialize_message
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from tiny_bev_ros.bag.box_labels import find_labels
from tiny_bev_ros.bag.reader import Bag, BagMessage, write_bag
from tiny_bev_ros.messages.detections import encode_detection_boxes
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.heads.detection import Detections

ARRAY = 'std_msgs/msg/Float32MultiArray'
BOXES = np.arange(14, dtype=np.float32).reshape(2, 7)


def encoded(boxes):
    count = len(boxes)
    found = Detections(
        torch.from_numpy(boxes), torch.ones(count), torch.zeros(count, dtype=torch.long)
    )
    return encode_detection_boxes(found, TensorLabels())


def plain(rows, label):
    dims = [
        MultiArrayDimension(label='box', size=len(rows), stride=rows.size),
        MultiArrayDimension(label=label, size=rows.shape[1], stride=rows.shape[1]),
    ]
    message = Float32MultiArray(data=array.array('f', rows.ravel()))
    message.layout.dim = dims
    return message


def bag_of(tmp_path: Path, *messages):
    topics = dict.fromkeys([topic for topic, *_ in messages], ARRAY)
    stored = [BagMessage(t, time_ns, bytes(serialize_message(m))) for t, time_ns, m in messages]
    write_bag(tmp_path / 'bag', topics, stored)
    return Bag(tmp_path / 'bag')


def test_labels_nearest_in_time(tmp_path):
    messages = [('/gt', 10**9 + 10**8 * i, encoded(BOXES + i)) for i in range(3)]
    with bag_of(tmp_path, *messages) as bag:
        np.testing.assert_array_equal(find_labels(bag, 1_105_000_000), BOXES + 1)
        assert find_labels(bag, 1_150_000_000) is None


@pytest.mark.parametrize('label', ['x,y,z,l,w,h,yaw', 'x,y,z,l,w,h,yaw,class;CAR,BUS'])
def test_rows_with_a_label_of_their_columns(tmp_path, label):
    rows = np.column_stack([BOXES, [0, 1]])[:, : 8 if 'class' in label else 7]
    with bag_of(tmp_path, ('/gt', 5, plain(rows, label))) as bag:
        np.testing.assert_array_equal(find_labels(bag, 5), BOXES)


def test_other_arrays_are_no_labels(tmp_path):
    with bag_of(tmp_path, ('/other', 5, plain(BOXES, 'channel'))) as bag:
        assert find_labels(bag, 5) is None


def test_damaged_messages_are_no_labels(tmp_path):
    whole = bytes(serialize_message(encoded(BOXES)))
    stored = [
        BagMessage('/other', 5, whole[:40]),
        BagMessage('/other', 5, whole[:8] + b'\xff' * (len(whole) - 8)),
        BagMessage('/gt', 6, whole),
    ]
    write_bag(tmp_path / 'bag', {'/other': ARRAY, '/gt': ARRAY}, stored)
    with Bag(tmp_path / 'bag') as bag:
        np.testing.assert_array_equal(find_labels(bag, 5), BOXES)


def test_labels_of_real_bags(data_dir):
    with Bag(data_dir / 'bags_derived/kitti_open_mcap') as bag:
        times = [message.time_ns for message in bag.messages(['/velodyne_points'])]
        assert [len(find_labels(bag, time_ns)) for time_ns in times] == [1, 6]
