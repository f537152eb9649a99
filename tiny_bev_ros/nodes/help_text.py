# SPDX-License-Identifier: Apache-2.0
"""`--help` of the nodes: their purpose, topics, parameters and examples."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from tiny_bev_ros.nodes.parameters import NODES, Parameter

_OBJECTS = 'detections, detection_boxes, detection_markers, drivable_area'
_WIDTH = 100
_COLUMN = 36


class Purpose(NamedTuple):
    """The purpose of a node, and the topics that it reads and publishes."""

    does: str
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
        'Pseudo-images or pillars to features.',
        'pseudo_image or pillars',
        'bev_features, bev_image',
        '-p input_format:=pillars',
    ),
    'camera_node': Purpose(
        'Images to features.', 'image, camera_info', 'camera_features', '-r __ns:=/front'
    ),
    'fusion_node': Purpose(
        'Features of maps and of cameras to fused features.',
        'bev_features, NAME/camera_features of each camera',
        'fused_features',
        "-p cameras:='[front, left]'",
    ),
    'heads_node': Purpose(
        'Features to objects and drivable area.',
        'bev_features',
        _OBJECTS,
        '-r bev_features:=fused_features',
    ),
    'pipeline_node': Purpose(
        'Point clouds, and images of cameras, to features, objects and drivable area.',
        'points; with cameras NAME/image, NAME/camera_info',
        f'pseudo_image, pillars, bev_features, bev_image, fused_features, {_OBJECTS}',
        '-r points:=/velodyne_points',
    ),
}


def usage(name: str) -> str:
    """The text of `--help` for one of the nodes."""
    purpose = PURPOSES[name]
    rows = [row for each in NODES[name] for row in _row(each)]
    lines = [
        f'usage: {name} [-h] [--ros-args [-r NAME:=NAME] [-p NAME:=VALUE] [--params-file F] ...]',
        '',
        purpose.does,
        '',
        *_wrapped('  subscribes  ', purpose.subscribes),
        *_wrapped('  publishes   ', f'{purpose.publishes}; /diagnostics, ~/debug/*'),
        '',
        'parameters, with their defaults; those with * change at any time, the others while the',
        'node is unconfigured. With shipped weights config/weights_street.yaml has the defaults',
        'of networks and map:',
        *rows,
        '',
        'examples:',
        f'  ros2 run tiny_bev_ros {name}',
        f'  ros2 run tiny_bev_ros {name} --ros-args {purpose.example}',
        f'  ros2 run tiny_bev_ros {name} --ros-args --params-file mine.yaml --log-level debug',
        '',
        'mine.yaml: a copy of config/tiny_bev.yaml, which lists all of these.',
    ]
    return '\n'.join(lines)


def _wrapped(left: str, right: str) -> list[str]:
    """Lines of a text beside a word."""
    return textwrap.wrap(right, _WIDTH, initial_indent=left, subsequent_indent=' ' * len(left))


def _row(parameter: Parameter) -> list[str]:
    """A parameter as lines of two columns."""
    star = '* ' if parameter.changes == 'always' else ''
    default = parameter.default
    shown = f'"{default}"' if isinstance(default, str) else str(default).replace("'", '"')
    shown = shown.lower() if isinstance(default, bool) else shown
    choices = f' ({", ".join(map(str, parameter.choices))})' if parameter.choices else ''
    left = f'  {parameter.name}: {shown}'
    right = f'{star}{parameter.description}{choices}'
    if len(left) >= _COLUMN:
        return [left, *_wrapped(' ' * _COLUMN, right)]
    return _wrapped(left.ljust(_COLUMN), right)
