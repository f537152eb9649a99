# SPDX-License-Identifier: Apache-2.0
"""Images to features, through a real process."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy
import torch
from rclpy.parameter import Parameter as RosParameter
from ros_graph import RosGraph
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.engine.cameras import CameraStage
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
    graph.start('camera_node', camera__image_size=list(size), output_encoding=encoding)
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
    stage = CameraStage(encoder, torch.device('cpu'), image_size=size)
    wanted, camera = stage(picture(), decode_camera_info(INFO))
    found = read(features[0])
    assert (found.stamp, found.frame_id) == ((5, 6), 'cam')
    tolerance = {'float32': 1e-4, 'float16': 5e-3}[encoding]
    assert wanted.abs().max() > 0.1
    assert (found.tensor - wanted).abs().max() < tolerance
    assert found.camera.size == camera.size
    torch.testing.assert_close(found.camera.intrinsics, camera.intrinsics)
    torch.testing.assert_close(found.camera.distortion, camera.distortion)


def test_what_does_not_fit_is_told_and_the_next_image_is_worked_on(graph: RosGraph):
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
        (images, good, 'image rejected (1 so far): there was no camera_info yet'),
        (infos, uncalibrated, 'camera_info rejected (1 so far): k is [0.0, 0.0'),
        (images, good, 'image rejected (1 so far): there was no camera_info yet'),
        (infos, INFO, ''),
        (infos, uncalibrated, ''),  # the one before still holds
        (images, bayer, "encoding is 'bayer_rggb8'; expected one of rgb8"),
        (images, encode_image(picture(20), (1, 0), 'cam'), '120 x 20 pixels; expected 120 x 40'),
        (images, large, 'data has 1080000 bytes; expected at most 1048576'),
    ):
        publisher.publish(message)
        graph.spin_until(lambda reason=reason: reason in process.log.read_text())
        graph.spin_for(0.3)
    assert not features
    images.publish(good)
    graph.spin_until(lambda: features)
    assert process.stop() == 0
    log = process.log.read_text()
    assert 'received 6, published 1, dropped 5 (5 rejected)' in log
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
    message.encoding, message.step, message.data = 'mono8', 120, grey.tobytes()
    images.publish(message)
    graph.spin_until(lambda: len(features) == 2)
    assert features[0].data == features[1].data


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('camera.encoder', 'resnet999', "parameter camera.encoder is 'resnet999'; expected"),
        ('camera.image_size', [-1, 0], 'parameter camera.image_size is [-1, 0]; expected 0'),
        ('camera.image_size', [64], 'camera.image_size is [64]; expected [width, height]'),
        ('camera.channels', 0, 'camera.channels is 0; expected 1 to 1024'),
        ('camera.checkpoint', '/nowhere/x.pt', 'camera.checkpoint: checkpoint is /nowhere/x.pt'),
    ],
)
def test_a_wrong_parameter_is_one_clear_error(name: str, value, reason: str):
    context = rclpy.Context()
    context.init(domain_id=103)
    node = CameraNode(context=context, parameter_overrides=[RosParameter(name, value=value)])
    assert not node.start()
    assert reason in node.fault
    node.destroy_node()
    context.try_shutdown()
