# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Plays a bag through pipeline_node and draws its outputs.

The node is a process of its own over the ROS middleware, as on a robot. A cloud is sent when its
recorded time has come and the outputs of the previous cloud have arrived, so that latencies are
the node's own and not those of a queue.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rclpy
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray
from tqdm import tqdm

from tiny_bev_ros.bag.box_labels import find_labels
from tiny_bev_ros.bag.reader import Bag, BagMessage, find_cloud_topic
from tiny_bev_ros.bag.schedule import LONGEST_GAP_S, Schedule
from tiny_bev_ros.bag.street_bag import make_street_bag
from tiny_bev_ros.client import BevSubscriber, tune_process
from tiny_bev_ros.demo.cloud_figure import Overlay, draw
from tiny_bev_ros.demo.point_check import PointStatus, check_points, hint, row
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.detections import DetectionBoxes, decode_detection_boxes
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.resources import (
    GRIDS,
    GRIDS_OF_WEIGHTS,
    WEIGHTS,
    config_file,
)
from tiny_bev_ros.runtime.node_process import NodeProcess

PLAY_S = 35.0
# The first start compiles kernels, on a slow or busy machine for minutes.
_START_S = 300.0
_ANSWER_S = 10.0
_TRIES = 3


class Probe(Node):
    """Node of the demo: sends clouds and collects the outputs."""

    def __init__(self, namespace: str, heads: bool) -> None:
        super().__init__('demo', namespace=namespace)
        self.features: BevTensor | None = None
        self.objects: DetectionBoxes | None = None
        self.area: np.ndarray | None = None
        self.latencies: dict[str, list[float]] = {'features': []}
        # Time at which a cloud was sent, and its outputs still missing, by stamp.
        self._sent: dict[tuple[int, int], tuple[float, set[str]]] = {}
        self.status = PointStatus(self)
        self._points = self.create_publisher(PointCloud2, 'points', QoSProfile(depth=1))
        self._features = BevSubscriber(self, 'bev_features', self._on_features)
        if heads:
            self.latencies |= {'objects': [], 'drivable area': []}
            self.create_subscription(Float32MultiArray, 'detection_boxes', self._on_objects, 1)
            self.create_subscription(OccupancyGrid, 'drivable_area', self._on_area, 1)

    def wait_for(self, node: NodeProcess) -> None:
        """Waits until the topics of clouds and features have publisher and subscriber."""
        end = time.monotonic() + _START_S
        while not (self.count_subscribers('points') and self.count_publishers('bev_features')):
            node.check()
            if time.monotonic() > end:
                raise TinyBevError(
                    f'pipeline_node was not active after {_START_S:g} s; see its log'
                )
            rclpy.spin_once(self, timeout_sec=0.1)

    def warm_up(self, cloud: bytes, node: NodeProcess) -> None:
        """Sends a cloud, up to three times, until its outputs arrive."""
        for _ in range(_TRIES):
            if self.send(cloud, node):
                break
        self._sent.clear()
        for each in self.latencies.values():
            each.clear()

    def spin_for(self, seconds: float) -> None:
        """Handles messages for a number of seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)

    def send(self, cloud: bytes, node: NodeProcess) -> bool:
        """Publishes a stored cloud; returns True if all outputs arrived."""
        header = deserialize_message(cloud, PointCloud2).header
        stamp = (header.stamp.sec, header.stamp.nanosec)
        self._sent[stamp] = time.monotonic(), set(self.latencies)
        self._points.publish(cloud)
        end = time.monotonic() + _ANSWER_S
        while stamp in self._sent and time.monotonic() < end:
            node.check()
            rclpy.spin_once(self, timeout_sec=0.2)
        return stamp not in self._sent

    def _record_arrival(self, output: str, stamp: tuple[int, int] | None) -> None:
        begin, missing = self._sent.get(stamp or (0, 0), (0.0, set()))
        if output not in missing:
            return
        missing.remove(output)
        self.latencies[output].append(time.monotonic() - begin)
        if not missing:
            del self._sent[stamp or (0, 0)]

    def _on_features(self, features: BevTensor) -> None:
        self.features = features
        self._record_arrival('features', features.labels.stamp)

    def _on_objects(self, message: Float32MultiArray) -> None:
        self.objects = decode_detection_boxes(message)
        self._record_arrival('objects', self.objects.labels.stamp)

    def _on_area(self, message: OccupancyGrid) -> None:
        self.area = np.array(message.data).reshape(message.info.height, message.info.width)
        stamp = message.header.stamp
        self._record_arrival('drivable area', (stamp.sec, stamp.nanosec))


def play(bag: Bag, topic: str, probe: Probe, node: NodeProcess) -> tuple[int, BagMessage | None]:
    """Sends clouds for at most PLAY_S; returns their number and the last answered one."""
    count = bag.topics[topic].count
    sent, last = 0, None
    schedule, end = Schedule(1.0, longest_gap_s=LONGEST_GAP_S), time.monotonic() + PLAY_S
    with tqdm(total=count, unit='cloud', desc='playing', disable=None) as bar:
        for message in bag.messages([topic]):
            if skipped := schedule.follow(message.time_ns):
                print(skipped)
            wait = schedule.seconds_until(message.time_ns)
            if time.monotonic() + max(0.0, wait) > end:
                break
            probe.spin_for(wait)
            if probe.send(message.data, node):
                last = message
            sent += 1
            bar.update()
    if sent < count:
        print(f'stopped after {PLAY_S:g} s: {sent} of {count} clouds were played')
    return sent, last


def table(rows: list[tuple[str, str]]) -> str:
    """Formats rows as two aligned columns."""
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'  {name:<{width}}  {value}' for name, value in rows)


def _latency(seconds: list[float]) -> str:
    middle, tail = np.percentile(seconds, (50, 95)) * 1e3
    return f'{middle:.0f} ms from cloud to output, median; 95 %: {tail:.0f} ms'


def _labels(bag: Bag, cloud: BagMessage | None) -> np.ndarray | None:
    """Returns labelled boxes for the figure, or None where they cannot be read."""
    try:
        return find_labels(bag, cloud.time_ns) if cloud else None
    except TinyBevError as error:
        print(f'the figure shows no labels: {error}')
        return None


def given_or_street(bag: str, street: Path, camera: bool = False) -> Path:
    """Returns the given bag, or makes one of a simulated street."""
    if bag:
        return Path(bag).expanduser()
    print(f'no bag given: simulating a street into {street}')
    shutil.rmtree(street, ignore_errors=True)  # of an earlier run
    make_street_bag(street, camera=camera)
    return street


def run(options: argparse.Namespace) -> None:
    """Plays the bag, prints the table and draws the figure."""
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = given_or_street(options.bag, folder / 'street')
    namespace = f'/tiny_bev_demo_{os.getpid()}'
    trained = options.grid in ('', *GRIDS_OF_WEIGHTS)
    name = WEIGHTS[0] if trained else 'none'
    arguments = ['-r', f'__ns:={namespace}', '-p', f'weights:={name}']
    if options.grid:
        arguments += ['--params-file', config_file(f'grids/{options.grid}.yaml')]
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        for remark in bag.remarks:
            print(remark)
        topic = find_cloud_topic(bag, options.topic)
        log = folder / 'pipeline_node.log'
        node = stack.enter_context(NodeProcess('pipeline_node', arguments, log))
        weights = 'shipped' if trained else 'untrained: none exist for this grid'
        print(f'starting pipeline_node (log: {log}); weights: {weights}')
        probe = Probe(namespace, heads=trained)
        stack.callback(probe.destroy_node)
        node.watch(probe)
        probe.wait_for(node)
        for message in itertools.islice(bag.messages([topic]), 1):
            probe.warm_up(message.data, node)
        begin = time.monotonic()
        sent, last = play(bag, topic, probe, node)
        seconds = time.monotonic() - begin
        diagnostics = probe.status.ask(node.check)
        labels = _labels(bag, last)
    if last is None or probe.features is None:
        raise TinyBevError(f'no features came out for the {sent} clouds on {topic}; see {log}')
    out = len(probe.latencies['features'])
    print(
        table(
            [
                ('bag', f'{path} ({topic})'),
                ('clouds in', f'{sent} in {seconds:.1f} s'),
                (
                    'features out',
                    f'{out}, each {" x ".join(map(str, probe.features.array.shape))}',
                ),
                ('lost', str(sent - out)),
                row(diagnostics),
                *(
                    (f'latency of {name}', _latency(values))
                    for name, values in probe.latencies.items()
                ),
            ]
        )
    )
    figure = folder / 'demo.png'
    stamp = probe.features.labels.stamp or (0, 0)
    points = decode_cloud(deserialize_message(last.data, PointCloud2)).points
    draw(
        points,
        probe.features,
        f'{path.name} {topic} at {stamp[0]}.{stamp[1]:09d} s (weights: {weights})',
        figure,
        Overlay(probe.objects, probe.area, labels),
    )
    print(f'figure: {figure}')
    if text := hint(points, options.grid):
        print(text)
    check_points(diagnostics)


def run_with_ros(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None]
) -> None:
    """Runs the work of an executable with its options, and exits with its status."""
    options, name = parser.parse_args(remove_ros_args(sys.argv)[1:]), parser.prog
    if shortage := tune_process():
        print(f'{name}: {shortage}', file=sys.stderr)
    try:
        rclpy.init()
        work(options)
    except TinyBevError as error:
        print(f'{name}: {error}', file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, ExternalShutdownException):
        print(f'{name}: interrupted', file=sys.stderr)
        sys.exit(130)
    finally:
        rclpy.try_shutdown()


def main() -> None:
    """Entry point of the demo executable."""
    parser = argparse.ArgumentParser(prog='demo', description=__doc__.splitlines()[0])
    parser.add_argument('--bag', default='', help='rosbag2 to play; by default a simulated street')
    parser.add_argument('--topic', default='', help='PointCloud2 topic, where the bag has several')
    parser.add_argument('--grid', default='', choices=['', *GRIDS], help='grid preset')
    parser.add_argument('--output', default='build/demo', help='folder of figure and logs')
    run_with_ros(parser, run)
