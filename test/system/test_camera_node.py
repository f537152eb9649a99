# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Images to features, through a real process."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy
import torch
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_graph import RosGraph
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.messages.camera_features import decode_camera_features
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.models import CameraEncoder, seeded
from tiny_bev_ros.nodes.camera_node import CameraNode

pytestmark = pytest.mark.dds

K = [70.0, 0.0, 60.5, 0.0, 71.0, 17.25, 0.0, 0.0, 1.0]
D = [-0.3, 0.1, 0.001, -0.002, 0.01]
INFO = CameraInfo(width=120, height=40, k=K, d=D, distortion_model='plumb_bob')


def picture(rows: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, 120, 3)).astype(np.uint8)


def read(message):
    return decode_camera_features(message, channels=64, max_bytes=2**20)


@pytest.mark.parametrize(('encoding', 'size'), [('float32', (0, 0)), ('float16', (64, 16))])
def test_features_and_how_they_are_seen(graph: RosGraph, encoding: str, size: tuple[int, int]):
    width, height = size
    graph.start(
        'camera_node',
        camera__resize_width=width,
        camera__crop_height=height,
        output_encoding=encoding,
    )
    kind = {'float32': Float32MultiArray, 'float16': UInt8MultiArray}[encoding]
    features = graph.collect(kind, 'camera_features')
    images = graph.publisher(Image, 'image', reliable=False)
    infos = graph.publisher(CameraInfo, 'camera_info', reliable=False)
    infos.publish(INFO)
    graph.spin_for(0.3)
    images.publish(encode_image(picture(), (5, 6), 'cam'))
    graph.spin_until(lambda: features)

    with seeded(0):
        encoder = CameraEncoder('tiny', 64).eval()
    stage = CameraRunner(encoder, torch.device('cpu'), resize_width=width, crop_height=height)
    wanted, camera = stage(picture(), decode_camera_info(INFO))
    found = read(features[0])
    assert (found.stamp, found.frame_id) == ((5, 6), 'cam')
    tolerance = {'float32': 1e-4, 'float16': 5e-3}[encoding]
    assert wanted.abs().max() > 0.1
    assert (found.tensor - wanted).abs().max() < tolerance
    assert found.camera.size == camera.size
    torch.testing.assert_close(found.camera.intrinsics, camera.intrinsics)
    torch.testing.assert_close(found.camera.distortion, camera.distortion)


def test_an_image_that_does_not_fit_is_logged_and_the_next_one_is_processed(graph: RosGraph):
    process = graph.start('camera_node', max_message_mb=1)
    features = graph.collect(Float32MultiArray, 'camera_features')
    images = graph.publisher(Image, 'image')
    infos = graph.publisher(CameraInfo, 'camera_info')
    good = encode_image(picture(), (1, 0), 'cam')
    bayer = encode_image(picture(), (1, 0), 'cam')
    bayer.encoding = 'bayer_rggb8'
    large = encode_image(np.zeros((600, 600, 3), np.uint8), (1, 0), 'cam')
    uncalibrated = CameraInfo(width=120, height=40)
    for publisher, message, reason in (
        (images, good, ''),  # waits for a camera_info
        (infos, uncalibrated, 'camera_info rejected (1 so far): k is all zeros'),
        (images, good, 'image rejected (1 so far): no camera_info was received yet'),
        (infos, INFO, ''),  # which the second image has waited for
        (infos, uncalibrated, ''),  # the one before still holds
        (images, bayer, "encoding is 'bayer_rggb8'; expected one of rgb8"),
        (images, encode_image(picture(20), (1, 0), 'cam'), ''),  # may have one that is to come
        (images, large, 'data has 1080000 bytes; expected at most 1048576'),
    ):
        publisher.publish(message)
        graph.spin_until(lambda reason=reason: reason in process.log.read_text())
        graph.spin_for(0.3)
    images.publish(good)
    graph.spin_until(lambda: len(features) == 2)
    assert process.stop() == 0
    log = process.log.read_text()
    assert '120 x 20 pixels; expected 120 x 40' in log
    assert 'received 6, published 2, dropped 4 (4 rejected)' in log
    assert 'Traceback' not in log


def test_mono_is_read_as_grey(graph: RosGraph):
    graph.start('camera_node')
    features = graph.collect(Float32MultiArray, 'camera_features')
    infos = graph.publisher(CameraInfo, 'camera_info')
    images = graph.publisher(Image, 'image')
    infos.publish(INFO)
    graph.spin_for(0.3)
    grey = picture()[..., :1]
    message = encode_image(grey.repeat(3, axis=2), (1, 0), 'cam')
    images.publish(message)
    graph.spin_until(lambda: len(features) == 1)
    for count, encoding in enumerate(('mono8', '8UC1', '8UC1'), 2):
        message.encoding, message.step, message.data = encoding, 120, grey.tobytes()
        images.publish(message)
        graph.spin_until(lambda count=count: len(features) == count)
    assert all(each.data == features[0].data for each in features)
    log = graph.logs()
    assert log.count('image has encoding 8UC1, which names no colours: read as mono8') == 1


def test_sizes_that_alternate_and_a_camera_info_that_was_published_before(graph: RosGraph):
    """Neither loses an image: each has the camera_info of its stamp, and one may be for all."""
    kept = QoSProfile(depth=2, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    once = graph.node.create_publisher(CameraInfo, 'camera_info', kept)
    once.publish(INFO)
    process = graph.start('camera_node')
    features = graph.collect(Float32MultiArray, 'camera_features')
    images = graph.publisher(Image, 'image')
    images.publish(encode_image(picture(), (1, 0), 'cam'))
    graph.spin_until(lambda: len(features) == 1)
    for second in range(2, 8):
        rows = (40, 20)[second % 2]
        info = CameraInfo(width=120, height=rows, k=K, d=D, distortion_model='plumb_bob')
        info.header.stamp.sec = second
        image = encode_image(picture(rows), (second, 0), 'cam')
        both = [lambda info=info: once.publish(info), lambda image=image: images.publish(image)]
        for publish in both[:: 1 if second < 5 else -1]:
            publish()
            graph.spin_for(0.05)
        graph.spin_until(lambda second=second: len(features) == second)
    sizes = [read(each).camera.size for each in features]
    assert sizes == [(15, 5)] + [(15, 5), (15, 3)] * 3
    assert process.stop() == 0
    assert 'received 7, published 7, dropped 0;' in process.log.read_text()


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('camera.encoder', 'resnet999', "parameter camera.encoder is 'resnet999'; expected"),
        ('camera.resize_width', -1, 'parameter camera.resize_width is -1; expected 0 to 65536'),
        (
            'camera.crop_height',
            [64],
            'camera.crop_height is [64] (INTEGER_ARRAY); expected INTEGER',
        ),
        ('camera.channels', 0, 'camera.channels is 0; expected 1 to 1024'),
        ('camera.checkpoint', '/nowhere/x.pt', 'camera.checkpoint: checkpoint is /nowhere/x.pt'),
    ],
)
def test_a_wrong_parameter_is_one_clear_error(name: str, value, reason: str):
    context = rclpy.Context()
    context.init()
    node = CameraNode(context=context, parameter_overrides=[RosParameter(name, value=value)])
    assert not node.start()
    assert reason in node.fault
    node.destroy_node()
    context.try_shutdown()
