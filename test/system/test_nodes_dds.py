# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Nodes as processes over the real middleware."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import torch
from ros_graph import RosGraph
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, String, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.multi_array import MESSAGE_TYPES
from tiny_bev_ros.messages.pillar_tensor import decode_pillars, encode_pillars
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
from tiny_bev_ros.models import PillarFeatureNet, TinyBEVBackbone, build_backbone, scatter, seeded

pytestmark = pytest.mark.dds

SMALL = {
    'grid__x_range': '[0.0, 16.0]',
    'grid__y_range': '[-8.0, 8.0]',
    'grid__z_range': '[-3.0, 1.0]',
    'grid__resolution': 0.5,
}
SMALL_GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 0.5)
DOCUMENT = Path(__file__).resolve().parents[2] / 'docs/tensor_message.md'
KITTI_GRID = BevGrid((0, 69.12), (-39.68, 39.68), (-3, 1), 0.16)


def cloud_of(count: int, seed: int = 1) -> np.ndarray:
    points = np.random.default_rng(seed).uniform([0, -8, -3, 0], [16, 8, 1, 1], (count, 4))
    return points.astype(np.float32)


def expected_pseudo_image(points: np.ndarray, grid: BevGrid) -> torch.Tensor:
    with seeded(0):
        pfn = PillarFeatureNet().eval()
    with torch.no_grad():
        return scatter(*pfn(torch.from_numpy(points), grid), grid.shape)


def expected_features(pseudo_image: torch.Tensor) -> np.ndarray:
    with seeded(0):
        backbone = TinyBEVBackbone().eval()
    with torch.no_grad():
        return backbone(pseudo_image).numpy()


def small_pseudo_image() -> np.ndarray:
    return np.random.default_rng(2).random((1, 64, 6, 8), dtype=np.float32)


def test_a_kitti_frame_through_both_nodes_gives_what_pytorch_gives(graph: RosGraph, data_dir):
    points = np.fromfile(data_dir / 'kitti/velodyne/000008.bin', np.float32).reshape(-1, 4)
    graph.start('pfn_node')
    graph.start('backbone_node')
    features = graph.collect(Float32MultiArray, 'bev_features')
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image')
    clouds = graph.publisher(PointCloud2, 'points')
    graph.spin_until(lambda: graph.node.count_publishers('bev_features') == 1)
    graph.spin_until(lambda: graph.node.count_subscribers('pseudo_image') == 2)
    cloud = encode_cloud(points, (1700000000, 123456789), 'velo_link')
    for _ in range(5):
        # The two nodes may not have discovered each other when the first one comes.
        clouds.publish(cloud)
        graph.spin_for(4.0)
        if features and pseudo_images:
            break
    graph.spin_until(lambda: features and pseudo_images)

    pseudo_image = decode_tensor(pseudo_images[0])
    wanted = expected_pseudo_image(points, KITTI_GRID)
    assert np.abs(pseudo_image.array - wanted.numpy()).max() < 1e-4
    assert pseudo_image.labels == TensorLabels(
        (1700000000, 123456789), 'velo_link', Axis(-39.68, 0.16), Axis(0.0, 0.16)
    )
    feature_map = decode_tensor(features[0])
    assert feature_map.array.shape == (1, 128, 248, 216)
    wanted_features = expected_features(torch.from_numpy(pseudo_image.array))
    assert np.abs(wanted_features).max() > 0.1
    assert np.abs(feature_map.array - wanted_features).max() < 1e-4
    assert feature_map.labels == TensorLabels(
        (1700000000, 123456789), 'velo_link', Axis(-39.68, 0.32), Axis(0.0, 0.32)
    )


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
def test_pipeline_node_gives_features_and_what_else_is_asked_for(graph: RosGraph, encoding: str):
    message_type = {'float32': Float32MultiArray, 'float16': UInt8MultiArray}[encoding]
    graph.start('pipeline_node', output_encoding=encoding, **SMALL)
    features = graph.collect(message_type, 'bev_features')
    pseudo_images = graph.collect(message_type, 'pseudo_image')
    pictures = graph.collect(Image, 'bev_image')
    clouds = graph.publisher(PointCloud2, 'points', reliable=False)
    points = cloud_of(500)
    clouds.publish(encode_cloud(points, (5, 6), 'lidar'))
    graph.spin_until(lambda: features and pseudo_images and pictures)

    pseudo_image = expected_pseudo_image(points, SMALL_GRID)
    tolerance = {'float32': 1e-4, 'float16': 5e-3}[encoding]
    got = decode_tensor(pseudo_images[0]).array
    assert np.abs(got - pseudo_image.numpy()).max() < tolerance
    feature_map = decode_tensor(features[0])
    assert np.abs(feature_map.array - expected_features(pseudo_image)).max() < tolerance
    assert feature_map.labels == TensorLabels((5, 6), 'lidar', Axis(-8.0, 1.0), Axis(0.0, 1.0))
    assert (pictures[0].height, pictures[0].width, pictures[0].encoding) == (16, 16, 'rgb8')
    assert pictures[0].header.frame_id == 'lidar'
    assert len(set(bytes(pictures[0].data))) > 10


def test_backbone_node_follows_the_type_of_its_input(graph: RosGraph):
    graph.start('backbone_node')
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.node.create_publisher(UInt8MultiArray, 'pseudo_image', 10)
    graph.spin_until(lambda: publisher.get_subscription_count() > 0)
    graph.spin_for(0.5)
    array = small_pseudo_image()
    publisher.publish(encode_tensor(array, TensorLabels((7, 8), 'f'), 'float16'))
    graph.spin_until(lambda: features)
    wanted = expected_features(torch.from_numpy(array.astype(np.float16).astype(np.float32)))
    assert np.abs(decode_tensor(features[0]).array - wanted).max() < 1e-4


def test_input_without_header_gets_receive_time_and_frame(graph: RosGraph):
    graph.start('backbone_node', frame_id='base_link')
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pseudo_image')
    before = graph.node.get_clock().now().nanoseconds
    publisher.publish(encode_tensor(small_pseudo_image(), TensorLabels()))
    graph.spin_until(lambda: features)
    after = graph.node.get_clock().now().nanoseconds
    labels = decode_tensor(features[0]).labels
    sec, nanosec = labels.stamp
    assert before <= sec * 10**9 + nanosec <= after
    assert (labels.frame_id, labels.x_axis, labels.y_axis) == ('base_link', None, None)


def wrong(name: str) -> Float32MultiArray | UInt8MultiArray:
    """Returns a pseudo-image message that is wrong in one way."""
    message = encode_tensor(small_pseudo_image(), TensorLabels((1, 2), 'f'))
    dims = message.layout.dim
    if name == 'data is too short':
        message.data = message.data[:-1]
    elif name == 'stride leaves the data':
        dims[1].stride *= 2
        dims[0].stride *= 2
    elif name == 'offset leaves the data':
        message.layout.data_offset = 5
    elif name == 'zero dimension':
        dims[2].size = 0
    elif name == 'channels':
        message = encode_tensor(small_pseudo_image()[:, :63], TensorLabels((1, 2), 'f'))
    elif name == 'nan':
        message.data[17] = float('nan')
    elif name == 'infinite':
        message.data[18] = float('inf')
    elif name == 'too large':
        message = encode_tensor(np.zeros((1, 64, 80, 80), np.float32), TensorLabels((1, 2), 'f'))
    elif name == 'unknown label':
        dims[3].label = 'depth'
    elif name == 'stamp':
        dims[0].label = 'batch;stamp=yesterday'
    elif name == 'grid':
        dims[2].label = 'height;origin=0.0;step=-1.0'
    elif name == 'rank':
        message.layout.dim = dims[:2]
    elif name == 'repeated label':
        dims[3] = MultiArrayDimension(label='height', size=dims[3].size, stride=dims[3].stride)
    return message


WRONGS = {
    'data is too short': 'data has 3071 elements',
    'stride leaves the data': 'layout.dim[0].stride 6144',
    'offset leaves the data': 'data_offset 5',
    'zero dimension': 'dim[2].size is 0',
    'channels': '63 channels; expected 64',
    'nan': 'holds nan',
    'infinite': 'holds inf',
    'too large': 'bytes; expected at most 1048576',
    'unknown label': "'depth'",
    'stamp': "'yesterday'",
    'grid': "step '-1.0'",
    'rank': 'layout.dim has 2 entries',
    'repeated label': 'labels are',
}


def test_wrong_pseudo_images_are_logged_once_and_the_next_good_one_is_processed(graph: RosGraph):
    process = graph.start('backbone_node', max_message_mb=1)
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pseudo_image')
    good = encode_tensor(small_pseudo_image(), TensorLabels((1, 2), 'f'))
    for count, name in enumerate(WRONGS, 1):
        for message in (wrong(name), wrong(name), good):
            publisher.publish(message)
            graph.spin_for(0.1)  # otherwise the next one replaces it
        graph.spin_until(lambda count=count: len(features) == count)
    assert process.stop() == 0
    errors = [line for line in process.log.read_text().splitlines() if '[ERROR]' in line]
    for name, reason in WRONGS.items():
        told = [line for line in errors if reason in line]
        assert len(told) == 1, f'{name}: {errors}'
    assert len(errors) == len(WRONGS)
    count = len(WRONGS)
    summary = (
        f'received {3 * count}, published {count}, dropped {2 * count} ({2 * count} rejected)'
    )
    assert summary in process.log.read_text()


def test_a_wrong_cloud_is_logged_once_and_the_next_good_one_is_processed(graph: RosGraph):
    process = graph.start('pfn_node', **SMALL)
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image')
    publisher = graph.publisher(PointCloud2, 'points')
    good = encode_cloud(cloud_of(100), (1, 0), 'lidar')
    short = encode_cloud(cloud_of(100), (1, 0), 'lidar')
    short.data = short.data[:-1]
    blind = encode_cloud(cloud_of(100), (1, 0), 'lidar')
    blind.fields = blind.fields[1:]
    flat = encode_cloud(cloud_of(100), (1, 0), 'lidar')
    flat.point_step = 0
    far = encode_cloud(cloud_of(100), (1, 0), 'lidar')
    far.fields[3].offset = 14
    for count, bad in enumerate((short, blind, flat, far), 1):
        publisher.publish(bad)
        graph.spin_for(0.1)
        publisher.publish(good)
        graph.spin_until(lambda count=count: len(pseudo_images) == count)
    assert process.stop() == 0
    log = process.log.read_text()
    assert len(re.findall(r'\[ERROR\].*points rejected', log)) == 4
    assert 'received 8, published 4, dropped 4 (4 rejected)' in log


def test_points_that_are_not_finite_are_dropped_and_logged(graph: RosGraph):
    process = graph.start('pfn_node', **SMALL)
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image')
    publisher = graph.publisher(PointCloud2, 'points')
    points = cloud_of(100)
    holes = points.copy()
    holes[::10, 0] = np.nan
    holes[5, 2] = np.inf
    publisher.publish(encode_cloud(holes, (1, 0), 'lidar'))
    graph.spin_until(lambda: pseudo_images)
    kept = np.isfinite(holes).all(1)
    wanted = expected_pseudo_image(points[kept], SMALL_GRID).numpy()
    assert np.abs(decode_tensor(pseudo_images[0]).array - wanted).max() < 1e-4
    assert 'dropped 11 of 100 points' in process.log.read_text()


def test_empty_cloud_gives_an_empty_map(graph: RosGraph):
    graph.start('pfn_node', **SMALL)
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image')
    publisher = graph.publisher(PointCloud2, 'points')
    publisher.publish(encode_cloud(np.zeros((0, 4), np.float32), (1, 0), 'lidar'))
    graph.spin_until(lambda: pseudo_images)
    assert not decode_tensor(pseudo_images[0]).array.any()


def test_work_is_skipped_while_nobody_subscribes(graph: RosGraph):
    process = graph.start('pfn_node', **SMALL)
    publisher = graph.publisher(PointCloud2, 'points')
    for _ in range(3):
        publisher.publish(encode_cloud(cloud_of(10), (1, 0), 'lidar'))
        graph.spin_for(0.3)
    assert process.stop() == 0
    assert 'received 3, published 0, dropped 3 (3 no_subscribers)' in process.log.read_text()


def test_checkpoints_are_loaded(graph: RosGraph, tmp_path):
    backbone = build_backbone('tiny')
    torch.save(backbone.state_dict(), tmp_path / 'backbone.pt')
    process = graph.start('backbone_node', backbone__checkpoint=tmp_path / 'backbone.pt')
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pseudo_image')
    array = small_pseudo_image()
    publisher.publish(encode_tensor(array, TensorLabels((1, 2), 'f')))
    graph.spin_until(lambda: features)
    with torch.no_grad():
        wanted = backbone.eval()(torch.from_numpy(array)).numpy()
    assert np.abs(decode_tensor(features[0]).array - wanted).max() < 1e-4
    assert 'UNTRAINED' not in process.log.read_text()


def test_without_a_checkpoint_the_node_says_that_weights_are_random(graph: RosGraph):
    process = graph.start('backbone_node')
    graph.spin_until(lambda: graph.node.count_publishers('bev_features') == 1)
    assert re.search(r'\[WARN\].*UNTRAINED', process.log.read_text())


@pytest.mark.parametrize('executable', ['pfn_node', 'backbone_node', 'pipeline_node'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_node_cleanly(graph: RosGraph, executable: str, number: signal.Signals):
    start = graph.start_afresh if number == signal.SIGINT else graph.start
    process = start(executable)
    topic = 'pseudo_image' if executable == 'pfn_node' else 'bev_features'
    graph.spin_until(lambda: graph.node.count_publishers(topic) == 1)
    assert process.stop(number) == 0
    assert 'Traceback' not in process.log.read_text()


@pytest.mark.parametrize('wait', [0.3, 0.6, 1.0, 1.5, 3.0])
def test_repeated_signals_at_any_time_end_a_node_cleanly(graph: RosGraph, wait: float):
    """A second Ctrl-C comes where ros2 launch passes on the terminal's."""
    process = graph.start_afresh('pipeline_node')
    graph.spin_for(wait)
    assert process.stop(signal.SIGINT, times=3) == 0
    assert 'Traceback' not in process.log.read_text()


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'device': 3}, 'device is 3 (INTEGER); expected STRING'),
        ({'grid__x_range': '[0.0, 10.03]'}, 'expected a whole number of cells'),
        ({'backbone__checkpoint': '/nowhere/x.pt'}, 'checkpoint is /nowhere/x.pt'),
    ],
)
def test_a_wrong_parameter_leaves_the_node_unconfigured(graph: RosGraph, parameters, reason):
    process = graph.start('pipeline_node', **parameters)
    with pytest.raises(TinyBevError, match=f'is not configured: .*{re.escape(reason)}'):
        graph.spin_until(lambda: False)
    graph.spin_for(0.5)
    assert process.stop() == 0
    log = process.log.read_text()
    assert 'Traceback' not in log
    errors = [line for line in log.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1
    assert reason in errors[0]


def test_a_broken_parameter_file_stops_the_node_with_one_line(graph: RosGraph):
    broken = graph.folder / 'broken.yaml'
    broken.write_text('/**: {ros__parameters: {grid: {x_range: [0, 69.12]}}}')
    for path, reason in ((broken, 'line_num'), (graph.folder / 'nowhere.yaml', 'nowhere.yaml')):
        process = graph.start('pfn_node', '--params-file', str(path))
        assert process.wait() == 1
        log = process.log.read_text()
        assert 'Traceback' not in log
        assert reason in log


def test_input_is_found_while_simulated_time_stands_still(graph: RosGraph):
    graph.start('pfn_node', use_sim_time=True, **SMALL)
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image')
    publisher = graph.publisher(PointCloud2, 'points', reliable=False)
    publisher.publish(encode_cloud(cloud_of(50), (1, 0), 'lidar'))
    graph.spin_until(lambda: pseudo_images)


def test_an_empty_frame_stays_empty(graph: RosGraph):
    graph.start('backbone_node', frame_id='base_link')
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pseudo_image')
    publisher.publish(encode_tensor(small_pseudo_image(), TensorLabels((0, 0), '')))
    graph.spin_until(lambda: features)
    assert decode_tensor(features[0]).labels == TensorLabels((0, 0), '')


def test_a_publisher_of_another_type_is_logged(graph: RosGraph):
    process = graph.start('backbone_node')
    graph.collect(Float32MultiArray, 'bev_features')
    graph.publisher(Float32MultiArray, 'pseudo_image')
    # Fast DDS allows one type per topic and participant.
    context = rclpy.Context()
    context.init()
    other = rclpy.create_node('other', namespace=graph.namespace, context=context)
    other.create_publisher(String, 'pseudo_image', 1)
    told = 'nothing is received from a publisher of std_msgs/msg/String'
    graph.spin_until(lambda: told in process.log.read_text())
    other.destroy_node()
    context.try_shutdown()


def test_a_misspelt_parameter_is_logged(graph: RosGraph):
    process = graph.start('backbone_node', devise='cpu')
    graph.spin_until(lambda: graph.node.count_publishers('bev_features') == 1)
    assert 'parameter devise is not known and has no effect; did you mean device?' in (
        process.log.read_text()
    )


def sent_and_answered(graph: RosGraph, message, topic: str, outputs: list) -> None:
    """Publishes, again if need be: nodes may not have discovered each other at first."""
    publisher = graph.publisher(type(message), topic)
    next_s = 0.0

    def answered() -> bool:
        nonlocal next_s
        if time.monotonic() >= next_s:
            publisher.publish(message)
            next_s = time.monotonic() + 3.0
        return bool(outputs)

    graph.spin_until(answered)


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
def test_pillars_from_node_to_node_give_what_the_dense_way_gives(graph: RosGraph, encoding: str):
    graph.start('pfn_node', output_encoding=encoding, **SMALL)
    process = graph.start(
        'backbone_node',
        input_format='pillars',
        backbone__sparsity='always',
        input_reliability='auto',
    )
    features = graph.collect(Float32MultiArray, 'bev_features')
    pillars = graph.collect(MESSAGE_TYPES[encoding], 'pillars')
    graph.spin_until(lambda: graph.node.count_subscribers('pillars') == 2)
    points = cloud_of(500)
    sent_and_answered(graph, encode_cloud(points, (5, 6), 'lidar'), 'points', features)

    pseudo_image = expected_pseudo_image(points, SMALL_GRID)
    tolerance = {'float32': 1e-4, 'float16': 5e-3}[encoding]
    received = decode_pillars(pillars[0])
    assert received.canvas == (32, 32)
    assert received.labels == TensorLabels((5, 6), 'lidar', Axis(-8.0, 0.5), Axis(0.0, 0.5))
    laid_out = scatter(
        torch.from_numpy(received.features).float(), torch.from_numpy(received.cells), (32, 32)
    )
    assert (laid_out - pseudo_image).abs().max() < tolerance
    feature_map = decode_tensor(features[0])
    assert np.abs(feature_map.array - expected_features(pseudo_image)).max() < tolerance
    assert feature_map.labels == TensorLabels((5, 6), 'lidar', Axis(-8.0, 1.0), Axis(0.0, 1.0))
    assert process.stop() == 0
    # A message that was sent again may be replaced.
    summary = r'dropped (0|\d+ \(\d+ replaced\)); .* [1-9]\d* sparse'
    assert re.search(summary, process.log.read_text())


def test_pillars_of_an_empty_cloud(graph: RosGraph):
    graph.start('pipeline_node', **SMALL)
    graph.start('backbone_node', input_format='pillars')
    pillars = graph.collect(Float32MultiArray, 'pillars')
    empty = encode_cloud(np.zeros((0, 4), np.float32), (1, 0), 'lidar')
    sent_and_answered(graph, empty, 'points', pillars)
    received = decode_pillars(pillars[0], channels=64)
    assert received.features.shape == (0, 64)
    assert received.canvas == (32, 32)
    features = graph.collect(Float32MultiArray, 'bev_features')
    sent_and_answered(graph, pillars[0], 'pillars', features)
    wanted = expected_features(torch.zeros(1, 64, 32, 32))
    assert np.abs(decode_tensor(features[0]).array - wanted).max() < 1e-4


def test_wrong_pillars_are_logged_and_the_next_good_ones_are_processed(graph: RosGraph):
    process = graph.start('backbone_node', input_format='pillars')
    features = graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pillars')
    cells = torch.tensor([[0, 1], [7, 7]])
    good = encode_pillars(torch.rand(2, 64), cells, (8, 8), TensorLabels((1, 2), 'f'))
    outside = encode_pillars(torch.rand(2, 64), cells, (8, 8), TensorLabels((1, 2), 'f'))
    assert outside.layout.dim[3].label == 'width;cells=8'
    outside.layout.dim[3].label = 'width;cells=7'
    narrow = encode_pillars(torch.rand(2, 9), cells, (8, 8), TensorLabels((1, 2), 'f'))
    huge = encode_pillars(torch.rand(2, 64), cells, (8, 2**20), TensorLabels((1, 2), 'f'))
    dense = encode_tensor(small_pseudo_image(), TensorLabels((1, 2), 'f'))
    for message in (outside, narrow, huge, dense, good):
        publisher.publish(message)
        graph.spin_for(0.1)
    graph.spin_until(lambda: features)
    assert process.stop() == 0
    log = process.log.read_text()
    for reason in (
        'row 7, column 7 at pillar 1; expected whole numbers from 0 to below 8 and 7',
        'are (2, 11, 1, 1); expected (P, 2 + 64, 1, 1)',
        '8 x 1048576 cells and 64 channels has 2147483648 bytes; expected at most',
        "expected each of ['pillar', 'channel', 'height', 'width'] once",
    ):
        assert len([line for line in log.splitlines() if reason in line]) == 1, log
    assert 'received 5, published 1, dropped 4 (4 rejected)' in log


def test_a_region_is_cut_out_of_what_is_published(graph: RosGraph):
    region = {'output_roi__x_range': '[4.0, 9.5]', 'output_roi__y_range': '[-.inf, 0.0]'}
    graph.start('pipeline_node', **SMALL, **region)
    features = graph.collect(Float32MultiArray, 'bev_features')
    pictures = graph.collect(Image, 'bev_image')
    points = cloud_of(500)
    sent_and_answered(graph, encode_cloud(points, (5, 6), 'lidar'), 'points', features)
    graph.spin_until(lambda: pictures)
    feature_map = decode_tensor(features[0])
    wanted = expected_features(expected_pseudo_image(points, SMALL_GRID))[:, :, :8, 4:10]
    assert feature_map.array.shape == (1, 128, 8, 6)
    assert np.abs(feature_map.array - wanted).max() < 1e-4
    assert feature_map.labels == TensorLabels((5, 6), 'lidar', Axis(-8.0, 1.0), Axis(4.0, 1.0))
    assert (pictures[0].height, pictures[0].width) == (6, 8)


def test_a_region_beside_the_map_is_logged(graph: RosGraph):
    process = graph.start('backbone_node', output_roi__x_range='[20.0, 30.0]')
    graph.collect(Float32MultiArray, 'bev_features')
    publisher = graph.publisher(Float32MultiArray, 'pseudo_image')
    axes = {'y_axis': Axis(0.0, 1.0), 'x_axis': Axis(0.0, 1.0)}
    for labels, told in (
        (
            TensorLabels((1, 2), 'f', **axes),
            '(1 so far): output_roi.x_range is [20, 30] m; expected an overlap',
        ),
        (
            TensorLabels((1, 2), 'f'),
            '(2 so far): tensor has no origin and step, which',
        ),
    ):
        publisher.publish(encode_tensor(small_pseudo_image(), labels))
        line = f'pseudo_image rejected {told}'
        graph.spin_until(lambda line=line: line in process.log.read_text())


READER = """
import json
import sys
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

{document}

rclpy.init()
node = rclpy.create_node('reader', namespace=sys.argv[1])
quality = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)

def show(topic):
    def callback(msg):
        array, info = read(msg)
        if topic == 'pillars':
            array = scatter(array, info)
        print(json.dumps([topic, str(array.dtype), array.shape,
                          float(abs(array.astype(float)).sum()),
                          info['width']['origin'], info['width']['step']]), flush=True)
    return callback

kind = {{'float32': Float32MultiArray, 'float16': UInt8MultiArray}}[sys.argv[2]]
for topic in ('pillars', 'pseudo_image', 'bev_features'):
    node.create_subscription(kind, topic, show(topic), quality)
assert not [name for name in sys.modules if name.startswith(('tiny_bev_ros', 'torch'))]
rclpy.spin(node)
"""


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
def test_a_reader_made_of_the_document_alone_reads_every_form(graph: RosGraph, encoding: str):
    """The subscriber is a process without this package, with best effort."""
    code = re.findall(r'```python\n(.*?)```', DOCUMENT.read_text(encoding='utf-8'), re.DOTALL)
    script = graph.folder / 'reader.py'
    script.write_text(READER.format(document='\n'.join(code)))
    graph.start('pipeline_node', output_encoding=encoding, **SMALL)
    told, log = graph.folder / 'reader.txt', graph.folder / 'reader.log'
    with told.open('wb') as output, log.open('wb') as errors:
        reader = subprocess.Popen(
            [sys.executable, str(script), graph.namespace, encoding],
            stdout=output,
            stderr=errors,
        )
    try:
        points = cloud_of(500)
        clouds = graph.publisher(PointCloud2, 'points')
        topics = ('pillars', 'pseudo_image', 'bev_features')
        graph.spin_until(lambda: all(graph.node.count_subscribers(topic) for topic in topics))

        def said() -> list[str]:
            clouds.publish(encode_cloud(points, (5, 6), 'lidar'))
            graph.spin_for(0.3)
            assert reader.poll() is None, log.read_text()
            return told.read_text().splitlines()

        graph.spin_until(lambda: {json.loads(line)[0] for line in said()} >= set(topics))
    finally:
        reader.kill()
        reader.wait()
    pseudo_image = expected_pseudo_image(points, SMALL_GRID)
    sums = dict.fromkeys(topics[:2], float(pseudo_image.abs().sum()))
    sums['bev_features'] = float(np.abs(expected_features(pseudo_image)).sum())
    for line in told.read_text().splitlines():
        topic, dtype, shape, total, origin, step = json.loads(line)
        assert dtype == encoding
        assert shape == ([1, 128, 16, 16] if topic == 'bev_features' else [1, 64, 32, 32])
        assert total == pytest.approx(sums[topic], rel=2e-3)
        assert (origin, step) == ('0.0', '1.0' if topic == 'bev_features' else '0.5')


@pytest.mark.parametrize('reliable', [True, False])
def test_a_pseudo_image_of_55_mb_arrives_without_any_setting(graph: RosGraph, reliable: bool):
    """With the shipped profile a best-effort subscriber gets none of them."""
    graph.start('pipeline_node')
    pseudo_images = graph.collect(Float32MultiArray, 'pseudo_image', reliable=reliable)
    points = np.random.default_rng(1).uniform([0, -39, -3, 0], [69, 39, 1, 1], (20000, 4))
    cloud = encode_cloud(points.astype(np.float32), (1, 0), 'lidar')
    sent_and_answered(graph, cloud, 'points', pseudo_images)
    assert decode_tensor(pseudo_images[0]).array.shape == (1, 64, 496, 432)
