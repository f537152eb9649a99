# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of demo-fusion from a bag to its figure, through real processes."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'rosbags', 'safetensors')

import re
import struct
import subprocess

import matplotlib.image
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.bag.street_bag import make_street_bag
from tiny_bev_ros.demo.camera_frames import CameraShot, shots
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.resources import command

pytestmark = pytest.mark.dds


def demo(bag, output):
    words = [*command('demo_fusion'), '--bag', str(bag), '--output', str(output)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


class LateLabels:
    """Bag whose labels were recorded a second later."""

    def __init__(self, bag):
        self._bag = bag

    def messages(self, topics):
        late = 10**9 if topics == ['/labels'] else 0
        for each in self._bag.messages(topics):
            yield each._replace(time_ns=each.time_ns + late)


def test_a_street(graph, tmp_path):
    make_street_bag(tmp_path / 'street', count=2, camera=True)
    done = demo(tmp_path / 'street', tmp_path / 'out')
    assert done.returncode == 0, done.stderr + graph.logs()
    maps, with_camera = map(int, re.findall(r'fused maps +(\d+), (\d+) of them', done.stdout)[0])
    assert maps == 20
    assert with_camera > 10
    for stage in ('pipeline_node, backbone', 'camera_node, encoder', 'fusion_node, fusion'):
        assert re.search(rf'{stage} +[0-9.]+ ms', done.stdout), done.stdout
    figure = matplotlib.image.imread(tmp_path / 'out' / 'demo_fusion.png')
    assert figure.shape[0] > 500


def test_a_bag_without_a_camera(graph, tmp_path):
    make_street_bag(tmp_path / 'street', count=1)
    done = demo(tmp_path / 'street', tmp_path / 'out')
    assert done.returncode == 1
    assert "demo_fusion: image topic is ''; expected one of []" in done.stderr


def test_clouds_and_images_of_one_time(tmp_path):
    make_street_bag(tmp_path / 'street', count=2, camera=True)
    with Bag(tmp_path / 'street') as bag:
        found = list(shots(bag, '/points', '/camera/image', '/camera/camera_info'))
        images = [each.data for each in bag.messages(['/camera/image'])]
        assert [shot.image for shot in found] == images
    make_street_bag(tmp_path / 'other', count=1, seed=1)
    with (
        Bag(tmp_path / 'other') as bag,
        pytest.raises(TinyBevError, match='no cloud on /points has an image on /labels'),
    ):
        list(shots(LateLabels(bag), '/points', '/labels', '/labels'))


def test_another_stamp():
    info = CameraInfo(width=640, distortion_model='plumb_bob', k=[float(i) for i in range(9)])
    info.header.frame_id = 'optical'
    sent = bytes(serialize_message(info))
    moved = CameraShot(sent, sent, sent).at(12 * 10**9 + 34).info
    found = deserialize_message(moved, CameraInfo)
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (12, 34)
    found.header.stamp = info.header.stamp
    assert found == info
    # A machine of the other byte order would have sent this.
    swapped = b'\x00\x00\x00\x00' + struct.pack('>iI', 1, 2) + b'rest'
    moved_too = CameraShot(swapped, swapped, swapped).at(3 * 10**9 + 4).cloud
    assert moved_too == b'\x00\x00\x00\x00' + struct.pack('>iI', 3, 4) + b'rest'
