# SPDX-License-Identifier: Apache-2.0
"""Where the package's files are installed."""

from __future__ import annotations

import sys
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory

PACKAGE = 'tiny_bev_ros'
GRIDS = ('kitti', 'square_200', 'surround', 'close', 'ahead', 'around')
# Shipped weights, grids of the cells with which they were trained, parameters that take them.
WEIGHTS = ('street',)
GRIDS_OF_WEIGHTS = ('ahead', 'around')
# Those of the demo with a camera: they stand for themselves, launch files do not offer them.
MARKED = 'street_marked'
CHECKPOINTS = ('pfn.checkpoint', 'backbone.checkpoint', 'heads.checkpoint')


def config_file(name: str = 'tiny_bev.yaml') -> str:
    """Path of a file of config/: tiny_bev.yaml has every parameter, grid_<preset>.yaml a grid."""
    return str(Path(get_package_share_directory(PACKAGE)) / 'config' / name)


def weights_file(name: str) -> str:
    """Path of shipped weights, WEIGHTS or MARKED; config/weights_<name>.yaml is their network."""
    return str(Path(__file__).parent / 'weights' / f'{name}.safetensors')


def command(name: str) -> list[str]:
    """The start of a command line that runs one of the package's executables, as ros2 run would.

    By the Python that runs now: a script's first line cannot name one in a folder with a space.
    """
    return [sys.executable, str(Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE / name)]
