# SPDX-License-Identifier: Apache-2.0
"""Paths of the files that are installed with the package; importable without ROS."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional

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

    params.yaml has every parameter of the nodes. Where ROS does not know the package, as after
    a plain `pip install`, the file lies below Python's own prefix.
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


def find_weights(name: str | Path) -> Path:
    """Returns the path of weights: shipped ones by their name, others by their path.

    Raises:
        TinyBevError: there is neither a file of that path nor such a name.
    """
    if name in (*WEIGHTS, MARKED):
        return Path(weights_file(str(name)))
    path = Path(name).expanduser()
    if not path.exists():
        raise TinyBevError(
            f'weights is {str(name)!r}; expected {" or ".join(WEIGHTS)}, or the path of a file'
        )
    return path


def command(name: str) -> list[str]:
    """Returns the start of a command line that runs one of the package's executables.

    It names the Python that runs now: the first line of a script cannot name one in a folder
    with a space.
    """
    prefix = import_module('ament_index_python.packages').get_package_prefix(PACKAGE)
    return [sys.executable, str(Path(prefix) / 'lib' / PACKAGE / name)]


def _share() -> Path:
    packages, _ = import_optional('ament_index_python.packages')
    try:
        return Path(packages.get_package_share_directory(PACKAGE))
    except (AttributeError, LookupError, OSError):  # not installed, not found, not sourced
        return Path(sys.prefix) / 'share' / PACKAGE
