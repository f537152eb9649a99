# SPDX-License-Identifier: Apache-2.0
"""Entry points of the tools, which say in one line what they need and cannot import.

Tools import what nodes do without: packages for pictures, progress bars, bags and training.
"""

from __future__ import annotations

import re
import sys
import traceback
from importlib import import_module
from pathlib import Path

from tiny_bev_ros.optional_imports import one_line

_OURS = Path(__file__).parent
# What pip calls the packages that ROS does not bring.
_PIP = {
    'backports': 'rosbags',
    'matplotlib': 'matplotlib',
    'numba': 'numba',
    'rosbags': 'rosbags',
    'safetensors': 'safetensors',
    'tqdm': 'tqdm',
}


def run(name: str, module: str) -> int:
    """Runs a tool; returns its exit code.

    Args:
        name: name of the executable.
        module: module of the package that has its `main`, as `bag.player`.
    """
    try:
        tool = import_module(f'tiny_bev_ros.{module}')
    except (Exception, SystemExit) as error:  # of packages that were made for others
        needed = _needed(error)
        if not needed:
            raise
        pip = _PIP.get(needed.partition('.')[0], '')
        remedy = f': pip install --upgrade {pip}' if pip else ''
        print(
            f'{name}: {needed} cannot be used ({one_line(error)}); expected it to work{remedy}',
            file=sys.stderr,
        )
        return 1
    code: int = tool.main() or 0
    return code


def _needed(error: BaseException) -> str:
    """The module of others over whose import an error was raised; '' for a fault of ours."""
    lines = [
        frame.line or ''
        for frame in traceback.extract_tb(error.__traceback__)
        if _OURS in Path(frame.filename).parents
    ]
    found = re.match(r'(?:from|import) ([\w.]+)', lines[-1]) if lines else None
    return found[1] if found and not found[1].startswith('tiny_bev_ros') else ''


def bag_player() -> None:
    """Plays a rosbag2."""
    sys.exit(run('bag_player', 'bag.player'))


def make_street_bag() -> None:
    """Writes a rosbag2 of a simulated street."""
    sys.exit(run('make_street_bag', 'bag.street_bag'))


def train() -> None:
    """Trains a network."""
    sys.exit(run('train', 'training.train'))


def evaluate() -> None:
    """Measures a trained network."""
    sys.exit(run('evaluate', 'training.evaluate'))


def demo() -> None:
    """Plays a bag through the nodes and draws what they see."""
    sys.exit(run('demo', 'demo.cloud_demo'))


def demo_fusion() -> None:
    """Plays a bag with a camera through the nodes."""
    sys.exit(run('demo_fusion', 'demo.fusion_demo'))
