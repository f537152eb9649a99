# SPDX-License-Identifier: Apache-2.0
"""Entry points of the executables, and how a node starts, spins and ends.

The nodes, and PyTorch with them, are imported once rclpy catches signals: Ctrl-C ends a
node cleanly in that second, too.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from tiny_bev_ros.errors import TinyBevError


def run(module: str, name: str) -> int:
    """Runs a node until Ctrl-C or SIGTERM.

    Args:
        module: a module of tiny_bev_ros.nodes.
        name: the node class in it.

    Returns:
        The exit code: 0 after a clean end, 1 when a parameter or file was wrong.
    """
    node = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_once)
    try:
        # rclpy's own handlers go before these, and wake the executor.
        rclpy.init()
    except KeyboardInterrupt:
        return 0
    except Exception as error:  # of several kinds, for a wrong argument or parameter file
        print(f'{module}: {" ".join(str(error).split())}', file=sys.stderr)
        return 1
    try:
        node_class = getattr(import_module(f'tiny_bev_ros.nodes.{module}'), name)
        node = node_class()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except TinyBevError as error:
        rclpy.logging.get_logger(module).fatal(str(error))
        return 1
    except Exception:
        # A signal that arrives while something is constructed makes rclpy raise from
        # there; that is the clean end that was asked for.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _end_once(number: int, frame: object) -> None:
    # A terminal sends Ctrl-C to every process, and ros2 launch may send it once more in the
    # midst of the clean end.
    for every in (signal.SIGINT, signal.SIGTERM):
        signal.signal(every, signal.SIG_IGN)
    raise KeyboardInterrupt


def pfn_node() -> None:
    """Point clouds to pseudo-images."""
    sys.exit(run('pfn_node', 'PfnNode'))


def backbone_node() -> None:
    """Pseudo-images to features."""
    sys.exit(run('backbone_node', 'BackboneNode'))


def pipeline_node() -> None:
    """Point clouds to features in one process."""
    sys.exit(run('pipeline_node', 'PipelineNode'))
