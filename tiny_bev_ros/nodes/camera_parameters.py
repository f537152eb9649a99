# SPDX-License-Identifier: Apache-2.0
"""The cameras of a node, and where they are mounted, as its parameters say."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.nodes.parameters import Parameter

EXTRINSICS = 'extrinsics.'
# A quaternion of zeros is no rotation.
_FROM_TF = [0.0] * 7
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')


def camera_names(values: dict[str, Any]) -> tuple[str, ...]:
    """The parameter `cameras`; empty where the node has none.

    Raises:
        TinyBevError: a name cannot be part of a topic, or is there twice.
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
    """A parameter for the pose of each camera.

    Raises:
        TinyBevError: as `camera_names`.
    """
    return [
        Parameter(
            EXTRINSICS + name,
            _FROM_TF,
            'pose [x, y, z, qx, qy, qz, qw] of the optical frame in the frame of the map, m; '
            'zeros to take it from TF',
        )
        for name in camera_names(values)
    ]


def mounts(values: dict[str, Any]) -> dict[str, Tensor | None]:
    """The `extrinsics` of each camera; None for one that TF tells.

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
