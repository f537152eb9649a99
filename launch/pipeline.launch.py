# SPDX-License-Identifier: Apache-2.0
"""Points to features, objects and drivable area, in one process or in three."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros.tools import launching
from tiny_bev_ros.tools.launch_values import truth

INPUT = {'points': 'input_topic'}
OUTPUT = {'bev_features': 'output_topic'}
# All of them to each node: so they agree whether shipped weights go with what is given.
OVERRIDES = {
    'device': 'device',
    'pfn.checkpoint': 'pfn_checkpoint',
    'backbone.checkpoint': 'backbone_checkpoint',
    'heads_checkpoint': 'heads_checkpoint',
}


def actions(context: LaunchContext) -> list:
    if launching.read(context, truth, 'composed') is not False:
        nodes = [launching.node(context, 'pipeline_node', INPUT | OUTPUT, OVERRIDES)]
    else:
        nodes = [
            launching.node(context, 'pfn_node', INPUT, OVERRIDES),
            launching.node(context, 'backbone_node', OUTPUT, OVERRIDES, input='pillars'),
            launching.node(context, 'heads_node', OUTPUT, OVERRIDES),
        ]
    return [*nodes, *launching.bag_player(context)]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'composed',
            default_value='true',
            description='true: pipeline_node, one process; false: pfn_node, backbone_node and '
            'heads_node',
        ),
        launching.topic('input_topic', 'points', 'clouds, sensor_msgs/PointCloud2'),
        launching.topic('output_topic', 'bev_features', 'features, multi-array (1,C,H/2,W/2)'),
        launching.checkpoint('pfn_checkpoint', 'the pillar feature net'),
        launching.checkpoint('backbone_checkpoint', 'the backbone'),
        launching.checkpoint('heads_checkpoint', 'the heads'),
        launching.WEIGHTS_ARGUMENT,
        launching.GRID,
    )
    return launching.description(arguments, actions)
