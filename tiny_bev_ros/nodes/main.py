# SPDX-License-Identifier: Apache-2.0
"""Entry points of the executables, and how a node starts, spins and ends.

A signal sets a flag and nothing else: it may come at any time and, where ros2 launch passes on
the Ctrl-C that the terminal has sent already, several times. What is being worked on is finished.
For the same reason rclpy, and PyTorch with the nodes, are imported after that is arranged.
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

# How soon a signal is seen while nothing else happens.
_WAKE_S = 0.2
# For the input, for diagnostics, and for all the rest.
_THREADS = 3
# Exit code of a process that can use its device no more.
_LOST = 2


def run(module: str, name: str) -> int:
    """Runs a node until Ctrl-C or SIGTERM.

    Args:
        module: a module of tiny_bev_ros.nodes.
        name: the node class in it.

    Returns:
        The exit code: 0 after a clean end, 1 when an argument or a parameter file was wrong, 2
        when the device is lost to this process, so that what started it starts another. With a
        wrong value of a parameter the node stays, unconfigured.
    """
    if {'-h', '--help'} & set(_own_arguments(sys.argv[1:])):
        from tiny_bev_ros.nodes.help_text import usage

        print(usage(module))
        return 0
    if own := _own_arguments(sys.argv[1:]):
        told = f'argument is {own[0]!r}; expected ROS arguments after --ros-args, or --help'
        print(f'{module}: {told}', file=sys.stderr)
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
    except Exception as error:  # of several kinds, for a wrong argument or parameter file
        told = ' '.join(str(error).split())
        if type(error).__name__ == 'UnknownROSArgsError':  # which says nothing but them
            told = f'ROS arguments are {told}; expected -r, -p, --params-file and the like'
        print(f'{module}: {told}', file=sys.stderr)
        return 1
    if shortage:
        rclpy.logging.get_logger(module).warning(shortage)
    node = executor = None
    try:
        node = getattr(import_module(f'tiny_bev_ros.nodes.{module}'), name)()
        executor = MultiThreadedExecutor(_THREADS)
        executor.add_node(node)
        if not ended.is_set():
            _begin(node)
        while not ended.is_set() and not node.lost:
            _spin_once(executor, node)
    finally:
        if node is not None:
            node.destroy_node()  # before what its timers still wake is gone
        if executor is not None:
            executor.shutdown(timeout_sec=_WAKE_S)
        rclpy.try_shutdown()
    return _LOST if node.lost else 0


def _begin(node: Any) -> None:
    if node.values['autostart']:
        node.start()
    else:
        node.get_logger().info('unconfigured, as autostart is false: waiting for configure')


def _own_arguments(words: list[str]) -> list[str]:
    """Those that are not for ROS: before --ros-args, or after the -- that ends it."""
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
    """Handles what is due; whatever a callback raises, the node goes on."""
    from rclpy.exceptions import InvalidHandle

    try:
        executor.spin_once(timeout_sec=_WAKE_S)
    except InvalidHandle as error:
        # Of a subscription that was let go of while the executor looked for what is due.
        node.get_logger().debug(str(error))
        time.sleep(_WAKE_S)
    except Exception as error:
        node.get_logger().error(traceback.format_exc().strip())
        node.notice(error)
        time.sleep(_WAKE_S)  # not to fill the log, should it be raised again and again


def pfn_node() -> None:
    """Point clouds to pseudo-images."""
    sys.exit(run('pfn_node', 'PfnNode'))


def backbone_node() -> None:
    """Pseudo-images to features."""
    sys.exit(run('backbone_node', 'BackboneNode'))


def camera_node() -> None:
    """Images to features."""
    sys.exit(run('camera_node', 'CameraNode'))


def fusion_node() -> None:
    """Features of points and of cameras to fused ones."""
    sys.exit(run('fusion_node', 'FusionNode'))


def heads_node() -> None:
    """Features to objects and drivable area."""
    sys.exit(run('heads_node', 'HeadsNode'))


def pipeline_node() -> None:
    """Point clouds to features, objects and drivable area in one process."""
    sys.exit(run('pipeline_node', 'PipelineNode'))
