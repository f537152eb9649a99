# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Names and extrinsics of cameras from the parameters of a node."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter

EXTRINSICS = 'extrinsics.'
# Default of a pose: TF gives it. No pose has these values, as a quaternion is not 0.
_FROM_TF = [0.0] * 7
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')


def camera_names(values: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names in the parameter `cameras`; empty for a node without cameras.

    Raises:
        TinyBevError: a name cannot be part of a topic, or is listed twice.
    """
    names: list[str] = values.get('cameras', [''])
    if names in ([], ['']):
        return ()
    if len(set(names)) < len(names) or not all(_NAME.fullmatch(name) for name in names):
        raise TinyBevError(
            f'parameter cameras is {names}; expected names such as front or rig/left, each once, '
            "or [''] for none"
        )
    return tuple(names)


def extrinsics_parameters(values: dict[str, Any]) -> list[Parameter]:
    """Returns the parameter with the pose of each camera.

    Raises:
        TinyBevError: a name is wrong, as in `camera_names`.
    """
    return [
        Parameter(
            EXTRINSICS + name,
            _FROM_TF,
            "pose [x, y, z, qx, qy, qz, qw] of the optical frame in the grid's frame, m; "
            'zeros for the pose of TF',
        )
        for name in camera_names(values)
    ]


def fixed_extrinsics(values: dict[str, Any]) -> dict[str, Tensor | None]:
    """Returns the 4x4 extrinsics of each camera, frame of the grid to optical frame.

    The value is None for a camera whose pose TF gives.

    Raises:
        TinyBevError: a name or a pose is wrong.
    """
    found: dict[str, Tensor | None] = {}
    for name in camera_names(values):
        pose = values[EXTRINSICS + name]
        try:
            found[name] = None if pose == _FROM_TF else extrinsics_from_pose(pose)
        except TinyBevError as error:
            raise TinyBevError(f'parameter {EXTRINSICS}{name}: {error}') from None
    return found
