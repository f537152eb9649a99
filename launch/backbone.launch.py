# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
