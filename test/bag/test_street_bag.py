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

require_packages('numba', 'rosbags')

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.bag import street_bag
from tiny_bev_ros.bag.cameras import BagCamera, find_camera, find_pose
from tiny_bev_ros.bag.reader import Bag, find_cloud_topic
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.image import decode_image
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan


def test_bag_holds_the_drive(tmp_path: Path) -> None:
    street_bag.make_street_bag(tmp_path / 'street', count=3, seed=7)
    with Bag(tmp_path / 'street') as bag:
        assert find_cloud_topic(bag) == '/points'
        messages = list(bag.messages(['/points']))
        labels = list(bag.messages(['/labels']))
    assert [m.time_ns - messages[0].time_ns for m in messages] == [0, 10**8, 2 * 10**8]
    for index, message in enumerate(messages):
        cloud = deserialize_message(message.data, PointCloud2)
        stamp = cloud.header.stamp.sec * 10**9 + cloud.header.stamp.nanosec
        assert (stamp, cloud.header.frame_id) == (message.time_ns, 'lidar')
        assert (cloud.point_step, [f.name for f in cloud.fields]) == (
            16,
            ['x', 'y', 'z', 'intensity'],
        )
        seconds = index / 10
        pose = ego_pose(street_plan(7), 8 * seconds)
        expected = scan(street(7).at(seconds), LIDARS['hdl64'], pose, 7 + index)
        np.testing.assert_array_equal(decode_cloud(cloud).points, expected.points)
        found = decode_detection_boxes(deserialize_message(labels[index].data, Float32MultiArray))
        assert found.labels.stamp == divmod(message.time_ns, 10**9)
        visible = (
            np.bincount(
                expected.instance_ids[expected.instance_ids >= 0], minlength=len(expected.boxes)
            )
            > 4
        )
        visible &= street(7).objects['label'] >= 0
        np.testing.assert_array_equal(found.boxes, expected.boxes[visible])


def test_bag_with_a_camera(tmp_path: Path) -> None:
    street_bag.make_street_bag(tmp_path / 'street', count=2, seed=7, camera=True)
    with Bag(tmp_path / 'street') as bag:
        camera = find_camera(bag)
        assert camera == BagCamera('/camera/image', '/camera/camera_info')
        pose = find_pose(bag, 'lidar', 'camera_optical')
        assert pose == pytest.approx([0.3, 0, -0.2, -0.5, 0.5, -0.5, 0.5])
        assert bag.topics['/tf_static'].qos.transient_local
        clouds, infos, images = (
            list(bag.messages([topic])) for topic in ('/points', camera.info, camera.image)
        )
    times = [message.time_ns for message in clouds]
    assert [message.time_ns for message in infos] == times
    assert [message.time_ns for message in images] == times
    info = decode_camera_info(deserialize_message(infos[0].data, CameraInfo))
    image = decode_image(deserialize_message(images[0].data, Image))
    assert image.shape == (240, 640, 3)
    # Ground with LiDAR points nearby is grey in the image; the sky above the houses is blue.
    camera_model = replace(info, extrinsics=extrinsics_from_pose(pose))
    points = torch.from_numpy(
        decode_cloud(deserialize_message(clouds[0].data, PointCloud2)).points[:, :3].copy()
    )
    near = points[
        camera_model.visible(points) & (points[:, 2] < -1.4) & (points[:, :2].norm(dim=1) < 12)
    ]
    col, row = camera_model.project(near)[0].round().long().clamp(min=0).T
    colours = image[row.clamp(max=239), col.clamp(max=639)].astype(int)
    assert len(near) > 500
    assert np.median(np.ptp(colours, axis=1)) < 25
    assert np.percentile(image[:40, :, 2].astype(int) - image[:40, :, 0], 90) > 30


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr('sys.argv', ['make_street_bag', *words])
    return street_bag.main()


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / 'street')
    assert command(monkeypatch, out, '--sweeps', '1') == 0
    assert capsys.readouterr().out == f'1 sweeps on /points in {out}\n'
    assert command(monkeypatch, out) == 1
    assert f'bag is {out}, which exists' in capsys.readouterr().err


@pytest.mark.parametrize('words', [[], ['x', '--sweeps', '0'], ['x', '--seed', '-1']])
def test_wrong_arguments(
    monkeypatch: pytest.MonkeyPatch, words: list[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, *words)
    assert caught.value.code == 2
    assert not list(tmp_path.iterdir())
