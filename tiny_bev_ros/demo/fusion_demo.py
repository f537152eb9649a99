# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Plays clouds and images of a bag through the nodes and draws the effect of the camera.

pipeline_node, camera_node and fusion_node are processes of their own over the ROS middleware, as
on a robot. A cloud is sent with the image of its time when the outputs of the previous cloud have
arrived.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import rclpy
import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tqdm import tqdm

from tiny_bev_ros.bag.cameras import find_camera, find_pose
from tiny_bev_ros.bag.reader import Bag, find_cloud_topic
from tiny_bev_ros.client import BevSubscriber
from tiny_bev_ros.demo.camera_frames import CameraShot, shots
from tiny_bev_ros.demo.cloud_demo import given_or_street, run_with_ros, table
from tiny_bev_ros.demo.fusion_figure import attended_pixels, draw, likeliest_cell
from tiny_bev_ros.demo.point_check import PointStatus, check_points, row
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.camera_features import CameraFeatures, decode_camera_features
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.image import decode_image
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.messages.tensor_labels import grid_from_labels
from tiny_bev_ros.models import FuTrFusion
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.models.checkpoint.loading import load_fusion
from tiny_bev_ros.models.checkpoint.metadata import load_weights
from tiny_bev_ros.models.heads.detection_head import DetectionHead, decode
from tiny_bev_ros.nodes.debug_publisher import debug_type
from tiny_bev_ros.resources import CAMERA_WEIGHTS, config_file, weights_file
from tiny_bev_ros.runtime.node_process import NodeProcess
from tiny_bev_ros.training.simulated_camera import CLASSES, PINHOLE

_NAME = 'camera'
_CAMERA_CHANNELS = 64
# Focal length in pixels of the training images: other images are scaled to it, so that objects
# have the size of training.
_FOCAL = PINHOLE.focal
_NODES = ('pipeline_node', 'camera_node', 'fusion_node')
# Score from which an object is drawn.
_LIKELY = 0.3
# The first start compiles kernels, on a slow or busy machine for minutes.
_START_S = 300.0
_ANSWER_S = 10.0
_TRIES = 3
_PERIOD_NS = 100_000_000
# Fewest frames for medians: a shorter bag is repeated.
_FEWEST = 20


class Probe(Node):
    """Node of the demo: sends camera frames and collects the outputs."""

    def __init__(self, namespace: str) -> None:
        super().__init__('demo_fusion', namespace=namespace)
        self.bev: BevTensor | None = None
        self.fused: BevTensor | None = None
        self.camera_features: CameraFeatures | None = None
        # Processing times in ms by node and stage, as the nodes publish them.
        self.stages: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.with_camera = 0
        self._sent: dict[tuple[int, int], float] = {}
        self.status = PointStatus(self)
        once = QoSProfile(depth=1)
        self._points = self.create_publisher(PointCloud2, 'points', once)
        self._image = self.create_publisher(Image, f'{_NAME}/image', once)
        self._info = self.create_publisher(CameraInfo, f'{_NAME}/camera_info', once)
        self._inputs = [
            BevSubscriber(self, 'bev_features', self._on_bev),
            BevSubscriber(self, 'fused_features', self._on_fused),
            BevSubscriber(
                self,
                f'{_NAME}/camera_features',
                self._on_camera_features,
                decode=lambda msg: decode_camera_features(
                    msg, channels=_CAMERA_CHANNELS, max_bytes=2**28
                ),
            ),
        ]

    def wait_for(self, nodes: list[NodeProcess]) -> None:
        """Waits until every topic has publisher and subscriber."""
        end = time.monotonic() + _START_S
        inputs = ('points', f'{_NAME}/image', f'{_NAME}/camera_info')
        outputs = ('bev_features', 'fused_features', f'{_NAME}/camera_features')
        while not (
            all(map(self.count_subscribers, inputs)) and all(map(self.count_publishers, outputs))
        ):
            for node in nodes:
                node.check()
            if time.monotonic() > end:
                raise TinyBevError(f'the nodes were not up after {_START_S:g} s; see their logs')
            rclpy.spin_once(self, timeout_sec=0.1)
        for name, _ in self.get_topic_names_and_types():
            node_name, found, stage = name.partition('/debug/processing_time/')
            if found and name.startswith(self.get_namespace()):
                key = (node_name.rpartition('/')[2], stage.removesuffix('_ms'))
                self.create_subscription(debug_type(), name, partial(self._on_time, key), 10)

    def send(self, shot: CameraShot, nodes: list[NodeProcess]) -> bool:
        """Publishes a camera frame; returns True if fused features arrived."""
        header = deserialize_message(shot.cloud, PointCloud2).header
        stamp = (header.stamp.sec, header.stamp.nanosec)
        self._sent = {stamp: time.monotonic()}
        self._info.publish(shot.info)
        self._image.publish(shot.image)
        self._points.publish(shot.cloud)
        end = time.monotonic() + _ANSWER_S
        while stamp in self._sent and time.monotonic() < end:
            for node in nodes:
                node.check()
            rclpy.spin_once(self, timeout_sec=0.2)
        return stamp not in self._sent

    def reset(self) -> None:
        """Removes the measurements so far."""
        self.stages.clear()
        self.latencies.clear()
        self.with_camera = 0

    def _on_time(self, key: tuple[str, str], message: Any) -> None:
        self.stages[key].append(message.data)

    def _on_bev(self, bev: BevTensor) -> None:
        self.bev = bev
        self._record_arrival('map of the LiDAR', bev.labels.stamp)

    def _on_camera_features(self, features: CameraFeatures) -> None:
        self.camera_features = features

    def _on_fused(self, fused: BevTensor) -> None:
        self.fused = fused
        if self.bev is not None and self.bev.labels.stamp == fused.labels.stamp:
            self.with_camera += not np.array_equal(self.bev.array, fused.array)
        self._record_arrival('fused map', fused.labels.stamp)
        self._sent.pop(fused.labels.stamp or (0, 0), None)

    def _record_arrival(self, output: str, stamp: tuple[int, int] | None) -> None:
        if stamp in self._sent:
            self.latencies[output].append((time.monotonic() - self._sent[stamp]) * 1e3)


def start(
    stack: ExitStack, namespace: str, pose: list[float], width: int, folder: Path
) -> list[NodeProcess]:
    """Starts the three nodes with the shipped weights; images are scaled to a width."""
    common = ['--params-file', config_file(f'weights/{CAMERA_WEIGHTS}.yaml')]
    for part in ('pfn', 'backbone', 'camera', 'fusion'):
        common += ['-p', f'{part}.checkpoint:={weights_file(CAMERA_WEIGHTS)}']
    own = {
        'pipeline_node': ['-p', 'weights:=none'],
        'camera_node': ['-p', f'camera.resize_width:={width}'],
        # Waits long enough for the camera on a slow machine.
        'fusion_node': [
            *('-p', f'cameras:=[{_NAME}]', '-p', f'extrinsics.{_NAME}:={pose}'),
            *('-p', 'sync.timeout_ms:=1000.0', '-p', 'weights:=none'),
        ],
    }
    nodes = []
    for name in _NODES:
        arguments = ['-r', f'__ns:={_namespace_of(name, namespace)}', *common, *own[name]]
        nodes.append(stack.enter_context(NodeProcess(name, arguments, folder / f'{name}.log')))
    return nodes


def _namespace_of(node: str, namespace: str) -> str:
    return f'{namespace}/{_NAME}' if node == 'camera_node' else namespace


def run(options: argparse.Namespace) -> None:
    """Plays the bag, prints the table and draws the figure."""
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = given_or_street(options.bag, folder / 'street_with_camera', camera=True)
    namespace = f'/tiny_bev_demo_{os.getpid()}'
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        for remark in bag.remarks:
            print(remark)
        cloud = find_cloud_topic(bag, options.topic)
        camera = find_camera(bag, options.image)
        played = list(shots(bag, cloud, camera.image, camera.info))
        first = played[0]
        frame = deserialize_message(first.cloud, PointCloud2).header.frame_id
        optical = deserialize_message(first.image, Image).header.frame_id
        pose = find_pose(bag, frame, optical)
        calibration = decode_camera_info(deserialize_message(first.info, CameraInfo))
        width = round(calibration.size[0] * _FOCAL / float(calibration.intrinsics[0, 0]))
        print(f'starting {", ".join(_NODES)} (logs: {folder})')
        print(f'weights: {CAMERA_WEIGHTS}, shipped; images are scaled to a width of {width}')
        nodes = start(stack, namespace, pose, width, folder)
        probe = Probe(namespace)
        stack.callback(probe.destroy_node)
        for node in nodes:
            node.watch(probe, _namespace_of(node.name, namespace))
        probe.wait_for(nodes)
        # The first answer shows that discovery is over and camera_info has arrived.
        if not any(probe.send(first, nodes) for _ in range(_TRIES)):
            raise TinyBevError(f'no fused features came out; see the logs in {folder}')
        probe.reset()
        first_ns = time.time_ns()
        answered = 0
        for index in tqdm(
            range(max(_FEWEST, len(played))), unit='cloud', desc='playing', disable=None
        ):
            shot = played[index % len(played)].at(first_ns + index * _PERIOD_NS)
            answered += probe.send(shot, nodes)
        status = probe.status.ask(nodes[0].check)
    _report(path, probe, index + 1, answered, status)
    figure = folder / 'demo_fusion.png'
    _draw(shot, pose, probe, f'{path.name} {cloud} and {camera.image}', figure)
    print(f'figure: {figure}')
    check_points(status)


def _report(path: Path, probe: Probe, sent: int, answered: int, status: dict[str, str]) -> None:
    rows = [
        ('bag', str(path)),
        ('clouds with an image', str(sent)),
        ('fused maps', f'{answered}, {probe.with_camera} of them with the camera'),
        row(status),
    ]
    for output, values in probe.latencies.items():
        rows.append((f'{output}, from cloud to output', _times(values)))
    for (node, stage), values in sorted(probe.stages.items()):
        rows.append((f'{node}, {stage}', _times(values)))
    print(table(rows))


def _times(values: list[float]) -> str:
    middle, tail = np.percentile(values, (50, 95))
    return f'{middle:6.1f} ms, 95 %: {tail:.1f} ms'


def _draw(shot: CameraShot, pose: list[float], probe: Probe, title: str, path: Path) -> None:
    bev, fused, view = probe.bev, probe.fused, probe.camera_features
    if bev is None or fused is None or view is None:
        raise TinyBevError('features of the camera did not arrive')
    mount = extrinsics_from_pose(pose)
    network, _ = load_weights(weights_file(CAMERA_WEIGHTS))
    fusion = FuTrFusion(network.backbone.feature_info[-1].channels, _CAMERA_CHANNELS).eval()
    load_fusion(fusion, weights_file(CAMERA_WEIGHTS))
    map_of_lidar, fused_map = bev.tensor.float(), fused.tensor.float()
    grid = grid_from_labels(bev.labels, (map_of_lidar.shape[2], map_of_lidar.shape[3]))
    camera = replace(view.camera, extrinsics=mount)
    whole = replace(
        decode_camera_info(deserialize_message(shot.info, CameraInfo)), extrinsics=mount
    )
    with torch.inference_mode():
        head = cast(DetectionHead, network.heads['detection'])
        output = head(torch.cat([map_of_lidar, fused_map]))
        detections = decode(output, grid, (_LIKELY,) * len(CLASSES), head.calibration)
        cell = likeliest_cell(fusion, grid, camera, output.heatmap[1].amax(dim=0).numpy())
        attended = attended_pixels(
            fusion, map_of_lidar, grid, view.tensor.float(), camera, whole, cell
        )
    points = decode_cloud(deserialize_message(shot.cloud, PointCloud2)).points
    image = decode_image(deserialize_message(shot.image, Image))
    maps = (map_of_lidar[0].numpy(), fused_map[0].numpy())
    draw(image, whole, points, maps, detections, grid, attended, title, path)


def main() -> None:
    """Entry point of the demo_fusion executable."""
    parser = argparse.ArgumentParser(prog='demo_fusion', description=__doc__.splitlines()[0])
    parser.add_argument(
        '--bag', default='', help='rosbag2 with clouds, images and transforms; default: simulated'
    )
    parser.add_argument('--topic', default='', help='PointCloud2 topic, where the bag has several')
    parser.add_argument('--image', default='', help='Image topic, where the bag has several')
    parser.add_argument('--output', default='build/demo', help='folder of figure and logs')
    run_with_ros(parser, run)
