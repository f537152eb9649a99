# SPDX-License-Identifier: Apache-2.0
"""Entry points of the executables, and how a node starts, spins and ends.

A signal sets a flag and nothing else: it may come at any time and, where ros2 launch passes on
the Ctrl-C that the terminal has sent already, several times. What is being worked on is finished.
For the same reason rclpy, and PyTorch with the nodes, are imported after that is arranged.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from threading import Event

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.transport.tuning import tune_process

# How soon a signal is seen while nothing else happens.
_WAKE_S = 0.2


def run(module: str, name: str) -> int:
    """Runs a node until Ctrl-C or SIGTERM.

    Args:
        module: a module of tiny_bev_ros.nodes.
        name: the node class in it.

    Returns:
        The exit code: 0 after a clean end, 1 when an argument, parameter or file was wrong.
    """
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    shortage = tune_process()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of several kinds, for a wrong argument or parameter file
        print(f'{module}: {" ".join(str(error).split())}', file=sys.stderr)
        return 1
    if shortage:
        rclpy.logging.get_logger(module).warning(shortage)
    node = None
    try:
        node = getattr(import_module(f'tiny_bev_ros.nodes.{module}'), name)()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not ended.is_set():
            executor.spin_once(timeout_sec=_WAKE_S)
    except TinyBevError as error:
        rclpy.logging.get_logger(module).fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def pfn_node() -> None:
    """Point clouds to pseudo-images."""
    sys.exit(run('pfn_node', 'PfnNode'))


def backbone_node() -> None:
    """Pseudo-images to features."""
    sys.exit(run('backbone_node', 'BackboneNode'))


def pipeline_node() -> None:
    """Point clouds to features in one process."""
    sys.exit(run('pipeline_node', 'PipelineNode'))
