# SPDX-License-Identifier: Apache-2.0
"""Plays the clouds and images of a bag through the nodes and shows what the camera adds.

pipeline_node, camera_node and fusion_node are processes of their own over the ROS middleware, as
on a robot. A cloud is sent, with the image of its time, when what was made of the one before it
is here.
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
from typing import Any

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
from tiny_bev_ros.demo.camera_frames import Shot, shots
from tiny_bev_ros.demo.cloud_demo import given_or_street, run_with_ros, table
from tiny_bev_ros.demo.fusion_figure import draw, likeliest_cell, looks_of
from tiny_bev_ros.demo.point_check import PointStatus, check_points, row
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.camera_features import CameraFeatures, decode_camera_features
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.image import decode_image
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.messages.tensor_labels import grid_from_labels
from tiny_bev_ros.models import FuTrFusion
from tiny_bev_ros.models.camera.extrinsics import from_pose
from tiny_bev_ros.models.checkpoint.loading import load_fusion
from tiny_bev_ros.models.checkpoint.metadata import load_weights
from tiny_bev_ros.models.heads.detection import decode
from tiny_bev_ros.nodes.debug_publisher import debug_type
from tiny_bev_ros.resources import MARKED, config_file, weights_file
from tiny_bev_ros.runtime.node_process import NodeProcess
from tiny_bev_ros.training.simulated_camera import CLASSES, EYE

_NAME = 'camera'
_CAMERA_CHANNELS = 64
# Focal length in pixels of the pictures with which the camera was trained: others are scaled to
# it, so that things are as large in them.
_FOCAL = EYE.focal
_NODES = ('pipeline_node', 'camera_node', 'fusion_node')
# From which score on an object is drawn.
_LIKELY = 0.3
# The first start compiles kernels, on a slow or busy machine for minutes.
_START_S = 300.0
_ANSWER_S = 10.0
_TRIES = 3
_PERIOD_NS = 100_000_000
# With fewer, medians mean nothing: a short bag is played again.
_FEWEST = 20


class Probe(Node):
    """Sends shots to the nodes and collects what they make of them."""

    def __init__(self, namespace: str) -> None:
        super().__init__('demo_fusion', namespace=namespace)
        self.bev: BevTensor | None = None
        self.fused: BevTensor | None = None
        self.seen: CameraFeatures | None = None
        # Milliseconds by node and stage, as the nodes say them.
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
                self._on_seen,
                decode=lambda msg: decode_camera_features(
                    msg, channels=_CAMERA_CHANNELS, max_bytes=2**28
                ),
            ),
        ]

    def wait_for(self, nodes: list[NodeProcess]) -> None:
        """Returns when every topic has both its ends."""
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

    def send(self, shot: Shot, nodes: list[NodeProcess]) -> bool:
        """Publishes a shot; whether fused features came of it."""
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

    def forget(self) -> None:
        """Drops the times so far."""
        self.stages.clear()
        self.latencies.clear()
        self.with_camera = 0

    def _on_time(self, key: tuple[str, str], said: Any) -> None:
        self.stages[key].append(said.data)

    def _on_bev(self, bev: BevTensor) -> None:
        self.bev = bev
        self._arrived('map of the LiDAR', bev.labels.stamp)

    def _on_seen(self, seen: CameraFeatures) -> None:
        self.seen = seen

    def _on_fused(self, fused: BevTensor) -> None:
        self.fused = fused
        if self.bev is not None and self.bev.labels.stamp == fused.labels.stamp:
            self.with_camera += not np.array_equal(self.bev.array, fused.array)
        self._arrived('fused map', fused.labels.stamp)
        self._sent.pop(fused.labels.stamp or (0, 0), None)

    def _arrived(self, what: str, stamp: tuple[int, int] | None) -> None:
        if stamp in self._sent:
            self.latencies[what].append((time.monotonic() - self._sent[stamp]) * 1e3)


def start(
    stack: ExitStack, namespace: str, pose: list[float], width: int, folder: Path
) -> list[NodeProcess]:
    """The three nodes, with the shipped weights; images are scaled to a width."""
    common = ['--params-file', config_file(f'weights_{MARKED}.yaml')]
    for part in ('pfn', 'backbone', 'camera', 'fusion'):
        common += ['-p', f'{part}.checkpoint:={weights_file(MARKED)}']
    own = {
        'pipeline_node': ['-p', 'weights:=none'],
        'camera_node': ['-p', f'camera.image_size:=[{width}, 0]'],
        # A slow machine is to show a fusion as well.
        'fusion_node': [
            *('-p', f'cameras:=[{_NAME}]', '-p', f'extrinsics.{_NAME}:={pose}'),
            *('-p', 'max_wait_ms:=1000.0', '-p', 'weights:=none'),
        ],
    }
    nodes = []
    for name in _NODES:
        where = f'{namespace}/{_NAME}' if name == 'camera_node' else namespace
        arguments = ['-r', f'__ns:={where}', *common, *own[name]]
        nodes.append(stack.enter_context(NodeProcess(name, arguments, folder / f'{name}.log')))
    return nodes


def run(options: argparse.Namespace) -> None:
    """Plays, prints the table, draws the picture."""
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
        told = decode_camera_info(deserialize_message(first.info, CameraInfo))
        width = round(told.size[0] * _FOCAL / float(told.intrinsics[0, 0]))
        print(f'starting {", ".join(_NODES)} (logs: {folder})')
        print(f'weights: {MARKED}, shipped; images are scaled to a width of {width}')
        nodes = start(stack, namespace, pose, width, folder)
        probe = Probe(namespace)
        stack.callback(probe.destroy_node)
        for node in nodes:
            node.watch(probe)
        probe.wait_for(nodes)
        # Until the nodes know each other, and have seen the camera_info.
        if not any(probe.send(first, nodes) for _ in range(_TRIES)):
            raise TinyBevError(f'no fused features came out; see the logs in {folder}')
        probe.forget()
        first_ns = time.time_ns()
        answered = 0
        for index in tqdm(
            range(max(_FEWEST, len(played))), unit='cloud', desc='playing', disable=None
        ):
            shot = played[index % len(played)].at(first_ns + index * _PERIOD_NS)
            answered += probe.send(shot, nodes)
        status = probe.status.ask(nodes[0].check)
    _report(path, probe, index + 1, answered, status)
    picture = folder / 'demo_fusion.png'
    _draw(shot, pose, probe, f'{path.name} {cloud} and {camera.image}', picture)
    print(f'picture: {picture}')
    check_points(status)


def _report(path: Path, probe: Probe, sent: int, answered: int, status: dict[str, str]) -> None:
    rows = [
        ('bag', str(path)),
        ('clouds with an image', str(sent)),
        ('fused maps', f'{answered}, {probe.with_camera} of them with the camera'),
        row(status),
    ]
    for what, values in probe.latencies.items():
        rows.append((f'{what}, from the cloud on', _times(values)))
    for (node, stage), values in sorted(probe.stages.items()):
        rows.append((f'{node}, {stage}', _times(values)))
    print(table(rows))


def _times(values: list[float]) -> str:
    middle, tail = np.percentile(values, (50, 95))
    return f'{middle:6.1f} ms, 95 %: {tail:.1f} ms'


def _draw(shot: Shot, pose: list[float], probe: Probe, title: str, path: Path) -> None:
    bev, fused, seen = probe.bev, probe.fused, probe.seen
    if bev is None or fused is None or seen is None:
        raise TinyBevError('features of the camera did not arrive')
    mount = from_pose(pose)
    network, _ = load_weights(weights_file(MARKED))
    fusion = FuTrFusion(network.backbone.feature_info[-1].channels, _CAMERA_CHANNELS).eval()
    load_fusion(fusion, weights_file(MARKED))
    map_of_lidar, fused_map = bev.tensor.float(), fused.tensor.float()
    grid = grid_from_labels(bev.labels, (map_of_lidar.shape[2], map_of_lidar.shape[3]))
    camera = replace(seen.camera, from_points=mount)
    whole = replace(
        decode_camera_info(deserialize_message(shot.info, CameraInfo)), from_points=mount
    )
    with torch.inference_mode():
        said = network.heads['detection'](torch.cat([map_of_lidar, fused_map]))
        found = decode(said, grid, (_LIKELY,) * len(CLASSES))
        # The middle of an object: there is something to be told.
        cell = likeliest_cell(fusion, grid, camera, said.heat[1].amax(dim=0).numpy())
        looks = looks_of(fusion, map_of_lidar, grid, seen.tensor.float(), camera, whole, cell)
    points = decode_cloud(deserialize_message(shot.cloud, PointCloud2)).points
    image = decode_image(deserialize_message(shot.image, Image))
    maps = (map_of_lidar[0].numpy(), fused_map[0].numpy())
    draw(image, whole, points, maps, found, grid, looks, title, path)


def main() -> None:
    """Entry point of the demo_fusion executable."""
    parser = argparse.ArgumentParser(prog='demo_fusion', description=__doc__.splitlines()[0])
    parser.add_argument(
        '--bag', default='', help='rosbag2 with clouds, images and transforms; default: simulated'
    )
    parser.add_argument('--topic', default='', help='its PointCloud2 topic, if it has several')
    parser.add_argument('--image', default='', help='its Image topic, if it has several')
    parser.add_argument('--output', default='build/demo', help='folder for picture and logs')
    run_with_ros(parser, run)
