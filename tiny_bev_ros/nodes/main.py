# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Entry points of the executables: start, spin and end of a node.

A signal only sets a flag, as it may come at any time, and twice where ros2 launch repeats the
Ctrl-C of the terminal. The input in progress is finished. For the same reason rclpy and PyTorch
are imported after the signal handlers are set.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from importlib import import_module
from threading import Event
from typing import Any

from tiny_bev_ros.runtime.process import tune_process

# Period at which the flag is checked while nothing else happens.
_WAKE_S = 0.2
# Threads for the input, for diagnostics, and for the rest.
_THREADS = 3
# Exit code of a process that can no longer use its device.
_DEVICE_LOST = 2


def run(module: str, name: str) -> int:
    """Runs a node until Ctrl-C or SIGTERM.

    Args:
        module: name of a module in tiny_bev_ros.nodes.
        name: name of the node class in it.

    Returns:
        Exit code: 0 after a clean end, 1 if an argument or a parameter file is wrong, 2 if the
        device is lost to this process, so that a supervisor starts another. A wrong value of a
        parameter leaves the node running and unconfigured.
    """
    if {'-h', '--help'} & set(_own_arguments(sys.argv[1:])):
        from tiny_bev_ros.nodes.help_text import usage

        print(usage(module))
        return 0
    if own := _own_arguments(sys.argv[1:]):
        reason = f'argument is {own[0]!r}; expected ROS arguments after --ros-args, or --help'
        print(f'{module}: {reason}', file=sys.stderr)
        return 1
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    shortage = tune_process()
    import rclpy
    from rclpy.executors import MultiThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has several kinds for a wrong argument or file
        reason = ' '.join(str(error).split())
        if type(error).__name__ == 'UnknownROSArgsError':  # its text is the arguments alone
            reason = f'ROS arguments are {reason}; expected -r, -p, --params-file and the like'
        print(f'{module}: {reason}', file=sys.stderr)
        return 1
    if shortage:
        rclpy.logging.get_logger(module).warning(shortage)
    node = executor = None
    try:
        node = getattr(import_module(f'tiny_bev_ros.nodes.{module}'), name)()
        executor = MultiThreadedExecutor(_THREADS)
        executor.add_node(node)
        if not ended.is_set():
            _start(node)
        while not ended.is_set() and not node.device_lost:
            _spin_once(executor, node)
    finally:
        if node is not None:
            node.destroy_node()  # while the executor of its timers is there
        if executor is not None:
            executor.shutdown(timeout_sec=_WAKE_S)
        rclpy.try_shutdown()
    return _DEVICE_LOST if node.device_lost else 0


def _start(node: Any) -> None:
    if node.values['autostart']:
        node.start()
    else:
        node.get_logger().info('autostart is false: unconfigured, waiting for a lifecycle manager')


def _own_arguments(words: list[str]) -> list[str]:
    """Returns arguments that are not for ROS: before --ros-args, or after the -- that ends it."""
    own, is_ros = [], False
    for word in words:
        if is_ros:
            is_ros = word != '--'
        elif word == '--ros-args':
            is_ros = True
        else:
            own.append(word)
    return own


def _spin_once(executor: Any, node: Any) -> None:
    """Runs callbacks that are due; the node goes on after any error of a callback."""
    from rclpy.exceptions import InvalidHandle

    try:
        executor.spin_once(timeout_sec=_WAKE_S)
    except InvalidHandle as error:
        # A subscription was destroyed while the executor collected callbacks that are due.
        node.get_logger().debug(str(error))
        time.sleep(_WAKE_S)
    except Exception as error:
        node.get_logger().error(traceback.format_exc().strip())
        node.handle_error(error)
        time.sleep(_WAKE_S)  # limits the log, should the error repeat


def pfn_node() -> None:
    """Runs the node from point clouds to pseudo-images."""
    sys.exit(run('pfn_node', 'PfnNode'))


def backbone_node() -> None:
    """Runs the node from pseudo-images to BEV features."""
    sys.exit(run('backbone_node', 'BackboneNode'))


def camera_node() -> None:
    """Runs the node from images to camera features."""
    sys.exit(run('camera_node', 'CameraNode'))


def fusion_node() -> None:
    """Runs the node from BEV and camera features to fused features."""
    sys.exit(run('fusion_node', 'FusionNode'))


def heads_node() -> None:
    """Runs the node from BEV features to detections and drivable area."""
    sys.exit(run('heads_node', 'HeadsNode'))


def pipeline_node() -> None:
    """Runs the node from point clouds to detections, all in one process."""
    sys.exit(run('pipeline_node', 'PipelineNode'))
