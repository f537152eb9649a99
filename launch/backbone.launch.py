# SPDX-License-Identifier: Apache-2.0
"""The backbone alone: pseudo_image or pillars to bev_features."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros import launch_utils


def actions(context: LaunchContext) -> list:
    return [
        launch_utils.node(
            context,
            'backbone_node',
            {
                'pseudo_image': 'input_topic',
                'pillars': 'input_topic',
                'bev_features': 'output_topic',
            },
            {
                'device': 'device',
                'input_format': 'input_format',
                'backbone.checkpoint': 'checkpoint',
            },
        ),
        *launch_utils.bag_player(context),
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'input_format',
            default_value='',
            choices=['', 'dense', 'pillars'],
            description='whether pseudo_image or pillars is read; empty: as in params_file',
        ),
        launch_utils.topic('input_topic', '', 'of the input; empty: pseudo_image or pillars'),
        launch_utils.topic('output_topic', 'bev_features', 'features, multi-array (B,C,H/2,W/2)'),
        launch_utils.checkpoint('checkpoint', 'the backbone'),
        launch_utils.WEIGHTS_ARGUMENT,
    )
    return launch_utils.description(arguments, actions)
