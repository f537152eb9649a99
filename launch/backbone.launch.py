# SPDX-License-Identifier: Apache-2.0
"""The backbone alone: pseudo_image or pillars to bev_features."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros.tools import launching


def actions(context: LaunchContext) -> list:
    return [
        launching.node(
            context,
            'backbone_node',
            {
                'pseudo_image': 'input_topic',
                'pillars': 'input_topic',
                'bev_features': 'output_topic',
            },
            {'device': 'device', 'input': 'input', 'backbone.checkpoint': 'checkpoint'},
        ),
        *launching.bag_player(context),
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'input',
            default_value='',
            choices=['', 'dense', 'pillars'],
            description='whether pseudo_image or pillars is read; empty: as in params_file',
        ),
        launching.topic('input_topic', '', 'of the input; empty: pseudo_image or pillars'),
        launching.topic('output_topic', 'bev_features', 'features, multi-array (B,C,H/2,W/2)'),
        launching.checkpoint('checkpoint', 'the backbone'),
        launching.WEIGHTS_ARGUMENT,
    )
    return launching.description(arguments, actions)
