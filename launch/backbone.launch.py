# SPDX-License-Identifier: Apache-2.0
"""Launches the backbone alone: pseudo_image or pillars to bev_features."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros import launch_utils

INPUT = {'pseudo_image': 'input_topic', 'pillars': 'input_topic'}
OUTPUT = {'bev_features': 'output_topic'}
OVERRIDES = {
    'device': 'device',
    'input_format': 'input_format',
    'backbone.checkpoint': 'checkpoint',
}


def actions(context: LaunchContext) -> list:
    backbone = launch_utils.node(context, 'backbone_node', INPUT | OUTPUT, OVERRIDES)
    return [backbone, *launch_utils.tools(context)]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'input_format',
            default_value='',
            choices=['', 'dense', 'pillars'],
            description='input: pseudo_image (dense) or pillars; empty: as in params_file',
        ),
        launch_utils.topic(
            'input_topic', '', 'input, multi-array; empty: pseudo_image or pillars'
        ),
        launch_utils.topic(
            'output_topic', 'bev_features', 'BEV features, multi-array (1,C,H/2,W/2)'
        ),
        launch_utils.checkpoint('checkpoint', 'the backbone'),
        launch_utils.WEIGHTS_ARGUMENT,
    )
    return launch_utils.description(arguments, actions)
