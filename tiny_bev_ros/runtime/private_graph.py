# SPDX-License-Identifier: Apache-2.0
"""A ROS graph apart from any other on the machine and its network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy

from tiny_bev_ros.runtime.process_setup import tune_process


@contextmanager
def private_graph() -> Iterator[rclpy.Context]:
    """A context, and an environment for child processes, on a domain that hardly anybody shares.

    This process is tuned for large tensors, as the nodes are. The environment is as before when
    the block ends, and the context is shut down.
    """
    saved = dict(os.environ)
    tune_process()
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    else:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    context = rclpy.Context()
    try:
        context.init()
        yield context
    finally:
        context.try_shutdown()
        os.environ.clear()
        os.environ.update(saved)
