# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Text of the nodes' `--help`: their purpose, topics, parameters and examples."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter
from tiny_bev_ros.nodes.parameters import NODES
from tiny_bev_ros.resources import config_file

_OBJECTS = 'detections, detection_boxes, detection_markers, drivable_area'
_WIDTH = 100
_COLUMN = 36


class Purpose(NamedTuple):
    """Purpose of a node, with the topics that it reads and publishes.

    Attributes:
        summary: one sentence: input to output.
        subscribes: names of input topics.
        publishes: names of output topics.
        example: ROS arguments of an example.
    """

    summary: str
    subscribes: str
    publishes: str
    example: str = '-p device:=cpu'


PURPOSES = {
    'pfn_node': Purpose(
        'Point clouds to pseudo-images and pillars.',
        'points',
        'pseudo_image, pillars',
        '-r points:=/velodyne_points',
    ),
    'backbone_node': Purpose(
        'Pseudo-images or pillars to BEV features.',
        'pseudo_image or pillars',
        'bev_features, bev_image',
        '-p input_format:=pillars',
    ),
    'camera_node': Purpose(
        'Images to camera features.', 'image, camera_info', 'camera_features', '-r __ns:=/front'
    ),
    'fusion_node': Purpose(
        'BEV features and camera features to fused BEV features.',
        'bev_features, NAME/camera_features of each camera',
        'fused_features',
        "-p cameras:='[front, left]'",
    ),
    'heads_node': Purpose(
        'BEV features to objects and drivable area.',
        'bev_features',
        _OBJECTS,
        '-r bev_features:=fused_features',
    ),
    'pipeline_node': Purpose(
        'Point clouds, and images of cameras, to BEV features, objects and drivable area.',
        'points; with cameras NAME/image, NAME/camera_info',
        f'pseudo_image, pillars, bev_features, bev_image, fused_features, {_OBJECTS}',
        '-r points:=/velodyne_points',
    ),
}


def usage(name: str) -> str:
    """Returns the text of `--help` of a node."""
    purpose = PURPOSES[name]
    rows = [row for each in NODES[name] for row in _row(each)]
    lines = [
        f'usage: {name} [-h] [--ros-args [-r NAME:=NAME] [-p NAME:=VALUE] [--params-file F] ...]',
        '',
        purpose.summary,
        '',
        *_wrapped('  subscribes  ', purpose.subscribes),
        *_wrapped('  publishes   ', f'{purpose.publishes}; /diagnostics, ~/debug/*'),
        '',
        'parameters with their defaults; those with * change at any time, the others while the',
        *_unconfigured(name),
        *rows,
        '',
        'examples:',
        f'  ros2 run tiny_bev_ros {name}',
        f'  ros2 run tiny_bev_ros {name} --ros-args {purpose.example}',
        f'  ros2 run tiny_bev_ros {name} --ros-args --params-file mine.yaml --log-level debug',
        '',
        'mine.yaml: a copy of params.yaml, which lists all parameters:',
        f'  {config_file()}',
    ]
    return '\n'.join(lines)


def _unconfigured(name: str) -> list[str]:
    """Returns the end of the sentence on changes, and for networks the source of defaults."""
    if not any(each.name == 'weights' for each in NODES[name]):
        return ['node is unconfigured:']
    return [
        'node is unconfigured. Shipped weights set defaults of networks and grid, which are in',
        'weights/street.yaml beside the file that the last line names:',
    ]


def _wrapped(left: str, right: str) -> list[str]:
    """Returns the lines of a text beside a word."""
    return textwrap.wrap(right, _WIDTH, initial_indent=left, subsequent_indent=' ' * len(left))


def _row(parameter: Parameter) -> list[str]:
    """Returns a parameter as lines of two columns."""
    star = '* ' if parameter.changes == 'always' else ''
    default = parameter.default
    shown = f'"{default}"' if isinstance(default, str) else str(default).replace("'", '"')
    shown = shown.lower() if isinstance(default, bool) else shown
    choices = f' ({parameter.listed_choices})' if parameter.choices else ''
    left = f'  {parameter.name}: {shown}'
    right = f'{star}{parameter.description}{choices}'
    if len(left) >= _COLUMN:
        return [left, *_wrapped(' ' * _COLUMN, right)]
    return _wrapped(left.ljust(_COLUMN), right)
