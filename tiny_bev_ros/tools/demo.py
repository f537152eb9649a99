# SPDX-License-Identifier: Apache-2.0
"""Plays a bag through pfn_node and backbone_node and shows what comes out.

Both run as processes of their own over the ROS middleware, as on a robot. A cloud is sent
when its recorded time has come and the features of the one before it are here, so that the
latencies are the nodes' own and not those of a queue.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import PointCloud2
from tqdm import tqdm

from tiny_bev_ros.client import BevSubscriber, tune_process
from tiny_bev_ros.config import GRIDS, config_file
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.cloud import decode_cloud
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.tools.bag import Bag, find_cloud_topic
from tiny_bev_ros.tools.demo_picture import draw
from tiny_bev_ros.tools.node_process import NodeProcess
from tiny_bev_ros.tools.street_bag import make_street_bag

PLAY_S = 35.0
_START_S = 60.0
_ANSWER_S = 10.0
_TRIES = 3
_CLOSE_M = 8.0


class Probe(Node):
    """Sends clouds to the nodes and collects the features."""

    def __init__(self, namespace: str) -> None:
        super().__init__('demo', namespace=namespace)
        self.sent: dict[tuple[int, int], float] = {}
        self.latencies: list[float] = []
        self.features: BevTensor | None = None
        self._points = self.create_publisher(PointCloud2, 'points', QoSProfile(depth=1))
        self._features = BevSubscriber(self, 'bev_features', self._on_features)

    def wait_for_nodes(self, nodes: list[NodeProcess]) -> None:
        """Returns when clouds, pillars and features have both their ends."""
        end = time.monotonic() + _START_S
        while not (
            self.count_subscribers('points')
            and self.count_publishers('pillars')
            and self.count_subscribers('pillars')
            and self.count_publishers('bev_features')
        ):
            for node in nodes:
                node.check()
            if time.monotonic() > end:
                raise TinyBevError(f'the nodes were not up after {_START_S:g} s; see their logs')
            rclpy.spin_once(self, timeout_sec=0.1)

    def warm_up(self, cloud: bytes, nodes: list[NodeProcess]) -> None:
        """Sends a cloud, and again if need be, until the nodes have found each other."""
        for _ in range(_TRIES):
            if self.send(cloud, nodes):
                break
        self.sent.clear()
        self.latencies.clear()

    def spin_for(self, seconds: float) -> None:
        """Handles what arrives for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)

    def send(self, cloud: bytes, nodes: list[NodeProcess]) -> bool:
        """Publishes a stored cloud; whether its features came."""
        header = deserialize_message(cloud, PointCloud2).header
        stamp = (header.stamp.sec, header.stamp.nanosec)
        self.sent[stamp] = time.monotonic()
        self._points.publish(cloud)
        end = time.monotonic() + _ANSWER_S
        while stamp in self.sent and time.monotonic() < end:
            for node in nodes:
                node.check()
            rclpy.spin_once(self, timeout_sec=0.2)
        return stamp not in self.sent

    def _on_features(self, features: BevTensor) -> None:
        arrived = time.monotonic()
        stamp = features.labels.stamp
        if stamp in self.sent:
            self.latencies.append(arrived - self.sent.pop(stamp))
            self.features = features


def play(bag: Bag, topic: str, probe: Probe, nodes: list[NodeProcess]) -> tuple[int, bytes | None]:
    """Sends the bag's clouds for PLAY_S at most; how many, and the last answered one."""
    count = bag.topics[topic].count
    sent, last = 0, None
    start, first = time.monotonic(), None
    with tqdm(total=count, unit='cloud', desc='playing', disable=None) as bar:
        for message in bag.messages([topic]):
            if time.monotonic() - start > PLAY_S:
                break
            first = message.time_ns if first is None else first
            due = start + (message.time_ns - first) / 1e9
            if due - start > PLAY_S:
                break
            probe.spin_for(due - time.monotonic())
            if probe.send(message.data, nodes):
                last = message.data
            sent += 1
            bar.update()
    if sent < count:
        print(f'stopped after {PLAY_S:g} s: {sent} of {count} clouds were played')
    return sent, last


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns, lined up."""
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'  {name:<{width}}  {value}' for name, value in rows)


def run(options: argparse.Namespace) -> None:
    """Plays, prints the table, draws the picture."""
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    if options.bag:
        path = Path(options.bag).expanduser()
    else:
        path = folder / 'street'
        print(f'no bag given: simulating a street into {path}')
        shutil.rmtree(path, ignore_errors=True)  # of an earlier run
        make_street_bag(path)
    namespace = f'/tiny_bev_demo_{os.getpid()}'
    arguments = ['-r', f'__ns:={namespace}', '--params-file', config_file()]
    if options.grid:
        arguments += ['--params-file', config_file(f'grid_{options.grid}.yaml')]
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        topic = find_cloud_topic(bag, options.topic)
        nodes = [
            stack.enter_context(NodeProcess(name, [*arguments, *more], folder / f'{name}.log'))
            for name, more in (('pfn_node', []), ('backbone_node', ['-p', 'input:=pillars']))
        ]
        print(f'starting pfn_node and backbone_node (logs in {folder}); weights are untrained')
        probe = Probe(namespace)
        stack.callback(probe.destroy_node)
        probe.wait_for_nodes(nodes)
        for message in itertools.islice(bag.messages([topic]), 1):
            probe.warm_up(message.data, nodes)
        begin = time.monotonic()
        sent, cloud = play(bag, topic, probe, nodes)
        seconds = time.monotonic() - begin
    if cloud is None or probe.features is None:
        raise TinyBevError(
            f'no features came out for the {sent} clouds on {topic}; '
            f'see {folder / "pfn_node.log"} and {folder / "backbone_node.log"}'
        )
    out, milliseconds = len(probe.latencies), np.array(probe.latencies) * 1e3
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
                ('latency, median', f'{np.median(milliseconds):.0f} ms from cloud to features'),
                ('latency, 95 %', f'{np.percentile(milliseconds, 95):.0f} ms'),
            ]
        )
    )
    picture = folder / 'demo.png'
    stamp = probe.features.labels.stamp or (0, 0)
    points = decode_cloud(deserialize_message(cloud, PointCloud2)).points
    draw(
        points,
        probe.features,
        f'{path.name} {topic} at {stamp[0]}.{stamp[1]:09d} s (untrained weights)',
        picture,
    )
    print(f'picture: {picture}')
    if np.ptp(points[:, :2], axis=0).max() < _CLOSE_M and not options.grid:
        print(f'the cloud is less than {_CLOSE_M:g} m wide: GRID=close shows more of it')


def main() -> None:
    """Entry point of the demo executable."""
    parser = argparse.ArgumentParser(prog='demo', description=__doc__.splitlines()[0])
    parser.add_argument('--bag', default='', help='rosbag2 to play; default: a simulated street')
    parser.add_argument('--topic', default='', help='its PointCloud2 topic, if it has several')
    parser.add_argument('--grid', default='', choices=['', *GRIDS], help='preset of the map')
    parser.add_argument('--output', default='build/demo', help='folder for picture and logs')
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if shortage := tune_process():
        print(f'demo: {shortage}', file=sys.stderr)
    try:
        rclpy.init()
        run(options)
    except TinyBevError as error:
        print(f'demo: {error}', file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, ExternalShutdownException):
        print('demo: interrupted', file=sys.stderr)
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
