# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of each node: the one source of what they accept, their files and their help.

A new parameter is one `Parameter` in a group of ``parameter_definitions/``; then ``make params``
writes config/params.yaml, config/params.schema.json and docs/parameters.md anew.
"""

from __future__ import annotations

from typing import NamedTuple

from tiny_bev_ros.nodes.parameter_definitions.camera_fusion import (
    CAMERA,
    CAMERA_FEATURES,
    CAMERAS,
    FUSION,
)
from tiny_bev_ros.nodes.parameter_definitions.messages_io import (
    BEV_OUTPUT,
    CLOUD,
    INPUT,
    OUTPUT,
    PILLAR_INPUT,
    SENSOR_HEIGHT,
    TENSOR_INPUT,
)
from tiny_bev_ros.nodes.parameter_definitions.networks import (
    BACKBONE,
    DRIVABLE_AREA,
    EXECUTION,
    FEATURES,
    GRID,
    HEADS,
    PFN,
    REFINEMENT,
    WEIGHTS,
)
from tiny_bev_ros.nodes.parameter_definitions.operation import (
    COMPUTE,
    DIAGNOSTICS,
    LIFECYCLE,
    LOWER_PRECISION,
)
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter

Group = tuple[Parameter, ...]

# Groups that every node has.
_COMMON: Group = COMPUTE + INPUT + LIFECYCLE + DIAGNOSTICS
NODES: dict[str, Group] = {
    'pfn_node': WEIGHTS + GRID + CLOUD + PFN + OUTPUT + _COMMON,
    'backbone_node': (
        WEIGHTS
        + BACKBONE
        + EXECUTION
        + LOWER_PRECISION
        + PILLAR_INPUT
        + TENSOR_INPUT
        + OUTPUT
        + BEV_OUTPUT
        + _COMMON
    ),
    'camera_node': CAMERA + OUTPUT + _COMMON,
    'fusion_node': (
        WEIGHTS + FEATURES + CAMERAS + CAMERA_FEATURES + FUSION + TENSOR_INPUT + OUTPUT + _COMMON
    ),
    'heads_node': WEIGHTS + FEATURES + HEADS + DRIVABLE_AREA + TENSOR_INPUT + _COMMON,
    'pipeline_node': (
        WEIGHTS
        + GRID
        + CLOUD
        + SENSOR_HEIGHT
        + PFN
        + BACKBONE
        + EXECUTION
        + HEADS
        + REFINEMENT
        + DRIVABLE_AREA
        + CAMERAS
        + CAMERA
        + FUSION
        + LOWER_PRECISION
        + OUTPUT
        + BEV_OUTPUT
        + _COMMON
    ),
}
ALL = {parameter.name: parameter for group in NODES.values() for parameter in group}


class Section(NamedTuple):
    """Heading of config/params.yaml with the parameters below it.

    Attributes:
        title: heading.
        text: explanation that holds for all of the parameters; may be empty.
        parameters: parameters in the order of the file.
        example: lines of YAML for parameters whose names are not known in advance.
    """

    title: str
    text: str
    parameters: Group
    example: str = ''


SECTIONS = (
    Section(
        'Weights',
        'Shipped weights set the defaults of the parameters behind a # below, to the values of '
        'config/weights/street.yaml; the values below hold without shipped weights. To set such a '
        'parameter, remove its #: auto then takes shipped weights only where the value is theirs.',
        WEIGHTS,
    ),
    Section('Grid', 'REP-103: x forward, y left, z up. Presets are in config/grids/.', GRID),
    Section('Point clouds', '', CLOUD + SENSOR_HEIGHT),
    Section('Pillar feature net', '', PFN),
    Section('Backbone', '', BACKBONE + EXECUTION),
    Section(
        'Cameras',
        'extrinsics.NAME is the pose [x, y, z, qx, qy, qz, qw] of the optical frame of a camera '
        "in the grid's frame, m; without it TF gives the pose.",
        CAMERAS,
        'extrinsics:\n  front: [0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5]',
    ),
    Section('Camera encoder', '', CAMERA),
    Section('Fusion', '', FUSION),
    Section('Heads', '', HEADS + REFINEMENT + DRIVABLE_AREA),
    Section('Computing', '', COMPUTE + LOWER_PRECISION),
    Section('Input', '', INPUT + PILLAR_INPUT + TENSOR_INPUT),
    Section('Output', '', OUTPUT),
    Section('BEV output', '', BEV_OUTPUT),
    Section('Lifecycle', '', LIFECYCLE),
    Section('Diagnostics', 'Thresholds of the status in /diagnostics.', DIAGNOSTICS),
)
