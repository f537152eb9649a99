# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Options of a bundle for Autoware's lidar_centerpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT


@dataclass(frozen=True)
class AutowareOptions:
    """Options of a bundle.

    Attributes:
        weights: name of shipped weights, or path of a weight file of `train`.
        sensor_height: height of the origin of the networks above the ground, in metres. The
            ground of Autoware's cloud, in base_link, is at z = 0, whatever the height of the
            vehicle's own LiDARs. Levelled weights expect NOMINAL_HEIGHT.
        x_range: forward extent of the grid in base_link, in metres; None for 256 cells on
            either side.
        y_range: leftward extent of the grid, likewise.
        max_voxels: number of pillars that the node keeps of a sweep.
        min_scores: lowest score of a reported vehicle, pedestrian and cyclist.
    """

    weights: str | Path = 'street'
    sensor_height: float = NOMINAL_HEIGHT
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    max_voxels: int = 40000
    min_scores: Sequence[float] = (0.3,) * len(CLASSES)


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds the options of a bundle, but the weights, to a program."""
    defaults, add = AutowareOptions(), parser.add_argument
    add(
        '--sensor-height',
        type=float,
        default=defaults.sensor_height,
        help='height in metres at which the weights expect the sensor above the ground, which is '
        "at z = 0 in Autoware's cloud (default: %(default)s)",
    )
    for axis, meaning in (('x', 'forward'), ('y', 'leftward')):
        add(
            f'--{axis}-range',
            type=float,
            nargs=2,
            metavar=('MIN', 'MAX'),
            help=f'{meaning} extent in metres (default: 256 cells on either side)',
        )
    add(
        '--max-voxels',
        type=int,
        default=defaults.max_voxels,
        help='most pillars of a sweep (default: %(default)s)',
    )
    add(
        '--min-scores',
        type=float,
        nargs=len(CLASSES),
        metavar=tuple(name.upper() for name in CLASSES),
        default=defaults.min_scores,
        help='lowest scores of reported objects (default: 0.3 each)',
    )


def check_target(options: argparse.Namespace) -> None:
    """Checks that another target than Autoware has none of the options of a bundle.

    Raises:
        TinyBevError: an option has no effect on the target.
    """
    if options.target == 'autoware':
        return
    for name, value in asdict(AutowareOptions()).items():
        given = getattr(options, name)
        given = tuple(given) if isinstance(given, list) else given
        if name != 'weights' and given != value:
            raise TinyBevError(
                f'--{name.replace("_", "-")} is {given} with target {options.target}; expected '
                'this option with target autoware alone'
            )


# Options in Python, or of a program with `add_arguments` and `weights`.
Options = AutowareOptions | argparse.Namespace
