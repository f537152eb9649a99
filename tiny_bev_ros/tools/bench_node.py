# SPDX-License-Identifier: Apache-2.0
"""pipeline_node measured from outside: a cloud is published, its features come back."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.config import config_file
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.cloud import encode_cloud
from tiny_bev_ros.tools.bench_timing import interleaved
from tiny_bev_ros.tools.node_process import NodeProcess

SPARSITIES = ('never', 'auto')
_START_S = 120.0
_ANSWER_S = 10.0
_TRIES = 3


class _Outside:
    """A node process of one sparsity, and both ends of its topics.

    Args:
        sparsity: of its backbone.
        threads: of its PyTorch.
        folder: for its log.
        context: of rclpy.
    """

    def __init__(self, sparsity: str, threads: int, folder: Path, context: rclpy.Context) -> None:
        namespace = f'/bench_{os.getpid()}_{sparsity}'
        arguments = ['-r', f'__ns:={namespace}', '--params-file', config_file()]
        arguments += ['-p', f'backbone.sparsity:={sparsity}', '-p', f'num_threads:={threads}']
        self.process = NodeProcess(
            'pipeline_node', arguments, folder / f'pipeline_node_{sparsity}.log'
        )
        self.node = rclpy.create_node('bench', namespace=namespace, context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._received = 0
        self._points = self.node.create_publisher(PointCloud2, 'points', QoSProfile(depth=1))
        self.node.create_subscription(
            Float32MultiArray, 'bev_features', self._on_features, QoSProfile(depth=1)
        )

    def wait(self, cloud: PointCloud2) -> None:
        """Returns when the node answers clouds."""
        end = time.monotonic() + _START_S
        while not (
            self.node.count_subscribers('points') and self.node.count_publishers('bev_features')
        ):
            self.process.check()
            if time.monotonic() > end:
                raise TinyBevError(
                    f'pipeline_node was not up after {_START_S:g} s; see {self.process.log}'
                )
            self._executor.spin_once(timeout_sec=0.1)
        for _ in range(_TRIES):
            if self._answered(cloud):
                return
        raise TinyBevError(f'pipeline_node did not answer; see {self.process.log}')

    def ask(self, cloud: PointCloud2) -> None:
        """Publishes the cloud and returns when its features are here."""
        if not self._answered(cloud):
            raise TinyBevError(f'pipeline_node lost a cloud; see {self.process.log}')

    def close(self) -> None:
        """Ends the process and the node of this side."""
        self.process.stop()
        self.node.destroy_node()

    def _answered(self, cloud: PointCloud2) -> bool:
        before, end = self._received, time.monotonic() + _ANSWER_S
        self._points.publish(cloud)
        while self._received == before and time.monotonic() < end:
            self.process.check()
            self._executor.spin_once(timeout_sec=0.2)
        return self._received > before

    def _on_features(self, _: Float32MultiArray) -> None:
        self._received += 1


def nodes(points: np.ndarray, threads: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds by sparsity, both nodes being up and asked in turn.

    Args:
        points: (N,4) float32 of one sweep.
        threads: of each node.
        rounds: clouds for each that are timed.
        folder: for the logs.

    Raises:
        TinyBevError: a node ended, did not come up, or did not answer.
    """
    cloud = encode_cloud(points, (1, 0), 'lidar')
    saved = dict(os.environ)
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    else:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    with ExitStack() as stack:
        stack.callback(_restore, saved)
        context = rclpy.Context()
        context.init()
        stack.callback(context.try_shutdown)
        sides = {}
        for sparsity in SPARSITIES:
            # One after the other: auto times both of its paths while it starts.
            sides[sparsity] = _Outside(sparsity, threads, folder, context)
            stack.callback(sides[sparsity].close)
            sides[sparsity].wait(cloud)
        return interleaved(
            {name: partial(side.ask, cloud) for name, side in sides.items()}, rounds
        )


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
