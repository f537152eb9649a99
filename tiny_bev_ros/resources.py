# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
# Shipped weights, and the grids with the resolution of their training.
WEIGHTS = ('street',)
GRIDS_OF_WEIGHTS = ('ahead', 'around')
# Shipped weights of the demo with a camera, which launch files do not offer.
CAMERA_WEIGHTS = 'street_marked'
# Parameters for paths of weight files.
CHECKPOINTS = ('pfn.checkpoint', 'backbone.checkpoint', 'heads.checkpoint')


def config_file(name: str = 'params.yaml') -> str:
    """Returns the path of a file of config/, such as grids/kitti.yaml.

    params.yaml lists all parameters of the nodes. Where ROS does not find the package, as after a
    plain `pip install`, the path lies below Python's prefix.
    """
    return str(_share_directory() / 'config' / name)


def rviz_file() -> str:
    """Returns the path of the RViz configuration that shows input and detections."""
    return str(_share_directory() / 'rviz/detections.rviz')


def weights_file(name: str) -> str:
    """Returns the path of shipped weights, a name of WEIGHTS or CAMERA_WEIGHTS.

    config/weights/<name>.yaml describes their networks and grid.
    """
    return str(Path(__file__).parent / 'weights' / f'{name}.safetensors')


def find_weights(name: str | Path) -> Path:
    """Returns the path of weights: shipped ones by their name, others by their path.

    Raises:
        TinyBevError: there is neither a file of that path nor such a name.
    """
    if name in (*WEIGHTS, CAMERA_WEIGHTS):
        return Path(weights_file(str(name)))
    path = Path(name).expanduser()
    if not path.exists():
        raise TinyBevError(
            f'weights is {str(name)!r}; expected {" or ".join(WEIGHTS)}, or the path of a file'
        )
    return path


def command(name: str) -> list[str]:
    """Returns the start of a command line that runs one of the package's executables.

    It starts the current Python explicitly, as the first line of a script cannot contain a path
    with a space.
    """
    prefix = import_module('ament_index_python.packages').get_package_prefix(PACKAGE)
    return [sys.executable, str(Path(prefix) / 'lib' / PACKAGE / name)]


def _share_directory() -> Path:
    packages, _ = import_optional('ament_index_python.packages')
    try:
        return Path(packages.get_package_share_directory(PACKAGE))
    except (AttributeError, LookupError, OSError):  # not installed, not found, not sourced
        return Path(sys.prefix) / 'share' / PACKAGE
