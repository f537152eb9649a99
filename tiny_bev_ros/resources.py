# SPDX-License-Identifier: Apache-2.0
"""Paths of the package's installed files."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = 'tiny_bev_ros'
# Presets of the grid, in config/grids/.
GRIDS = ('kitti', 'square_200', 'surround', 'close', 'ahead', 'around')
# Shipped weights, grids with the resolution of their training, parameters with their files.
WEIGHTS = ('street',)
GRIDS_OF_WEIGHTS = ('ahead', 'around')
# Weights of the demo with a camera, which launch files do not offer.
MARKED = 'street_marked'
CHECKPOINTS = ('pfn.checkpoint', 'backbone.checkpoint', 'heads.checkpoint')


def config_file(name: str = 'params.yaml') -> str:
    """Returns the path of a file of config/, such as grids/kitti.yaml.

    params.yaml has every parameter of the nodes.
    """
    return str(_share() / 'config' / name)


def rviz_file() -> str:
    """Returns the path of the RViz configuration that shows input and detections."""
    return str(_share() / 'rviz/detections.rviz')


def weights_file(name: str) -> str:
    """Returns the path of shipped weights, a name of WEIGHTS or MARKED.

    config/weights/<name>.yaml describes their networks and grid.
    """
    return str(Path(__file__).parent / 'weights' / f'{name}.safetensors')


def command(name: str) -> list[str]:
    """Returns the start of a command line that runs an executable of the package, as ros2 run.

    The interpreter is the one that runs now: the first line of a script cannot name one in a
    folder with a space.
    """
    from ament_index_python.packages import get_package_prefix

    return [sys.executable, str(Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE / name)]


def _share() -> Path:
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory(PACKAGE))
