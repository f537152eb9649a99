# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Launches points to BEV features, objects and drivable area, in one process or in three."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros import launch_utils
from tiny_bev_ros.launch_values import truth

INPUT = {'points': 'input_topic'}
OUTPUT = {'bev_features': 'output_topic'}
# Every node gets all of these, so that all make the same choice of shipped weights.
OVERRIDES = {
    'device': 'device',
    'pfn.checkpoint': 'pfn_checkpoint',
    'backbone.checkpoint': 'backbone_checkpoint',
    'heads.checkpoint': 'heads_checkpoint',
}


def actions(context: LaunchContext) -> list:
    if launch_utils.read(context, truth, 'composed') is not False:
        nodes = [launch_utils.node(context, 'pipeline_node', INPUT | OUTPUT, OVERRIDES)]
    else:
        nodes = [
            launch_utils.node(context, 'pfn_node', INPUT, OVERRIDES),
            launch_utils.node(context, 'backbone_node', OUTPUT, OVERRIDES, input_format='pillars'),
            launch_utils.node(context, 'heads_node', OUTPUT, OVERRIDES),
        ]
    return [*nodes, *launch_utils.tools(context, INPUT)]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'composed',
            default_value='true',
            description='true: pipeline_node, one process; false: pfn_node, backbone_node and '
            'heads_node',
        ),
        launch_utils.topic('input_topic', 'points', 'input clouds, sensor_msgs/PointCloud2'),
        launch_utils.topic(
            'output_topic', 'bev_features', 'BEV features, multi-array (1,C,H/2,W/2)'
        ),
        launch_utils.checkpoint('pfn_checkpoint', 'the pillar feature net'),
        launch_utils.checkpoint('backbone_checkpoint', 'the backbone'),
        launch_utils.checkpoint('heads_checkpoint', 'the heads'),
        launch_utils.WEIGHTS_ARGUMENT,
        launch_utils.GRID,
    )
    return launch_utils.description(arguments, actions)
