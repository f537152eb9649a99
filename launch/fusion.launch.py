# SPDX-License-Identifier: Apache-2.0
"""Points and images to fused features, objects and drivable area, in one process or in several."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros.tools import launching
from tiny_bev_ros.tools.launch_values import camera_list, camera_topics, truth

INPUT = {'points': 'input_topic'}
IMAGES = {'image_topic': 'image', 'info_topic': 'camera_info'}
OUTPUT = {'fused_features': 'output_topic'}
# All of them to each node: so they agree whether shipped weights go with what is given.
OVERRIDES = {
    'device': 'device',
    'pfn.checkpoint': 'pfn_checkpoint',
    'backbone.checkpoint': 'backbone_checkpoint',
    'camera.checkpoint': 'camera_checkpoint',
    'fusion.checkpoint': 'fusion_checkpoint',
    'heads_checkpoint': 'heads_checkpoint',
}


def actions(context: LaunchContext) -> list:
    names = launching.read(context, camera_list, 'cameras')
    topics = {}
    for argument, inside in IMAGES.items():
        text = launching.argument_value(context, argument)
        topics |= camera_topics(argument, text, inside, names)
    if launching.read(context, truth, 'composed') is not False:
        nodes = [
            launching.node(
                context,
                'pipeline_node',
                INPUT | OUTPUT,
                OVERRIDES,
                renamed=topics,
                cameras=names,
            )
        ]
    else:
        own = {inside: argument for argument, inside in IMAGES.items()}
        nodes = [
            launching.node(context, 'pfn_node', INPUT, OVERRIDES),
            launching.node(context, 'backbone_node', {}, OVERRIDES, input='pillars'),
            *(
                launching.node(context, 'camera_node', own, OVERRIDES, below=name)
                for name in filter(None, names)
            ),
            launching.node(context, 'fusion_node', OUTPUT, OVERRIDES, cameras=names),
            launching.node(context, 'heads_node', {'bev_features': 'output_topic'}, OVERRIDES),
        ]
    return [*nodes, *launching.bag_player(context)]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'composed',
            default_value='true',
            description='true: pipeline_node, one process; false: pfn_node, backbone_node, '
            'a camera_node in the namespace of each camera, fusion_node and heads_node',
        ),
        DeclareLaunchArgument(
            'cameras',
            default_value='camera',
            description='names, between commas: before the topics of each, below extrinsics',
        ),
        launching.topic('input_topic', 'points', 'clouds, sensor_msgs/PointCloud2'),
        launching.topic(
            'image_topic',
            'image',
            'sensor_msgs/Image of each camera, relative to its name; of a single one any',
        ),
        launching.topic(
            'info_topic', 'camera_info', 'sensor_msgs/CameraInfo of each camera, in the same way'
        ),
        launching.topic('output_topic', 'fused_features', 'features, multi-array (1,C,H/2,W/2)'),
        launching.checkpoint('pfn_checkpoint', 'the pillar feature net'),
        launching.checkpoint('backbone_checkpoint', 'the backbone'),
        launching.checkpoint('camera_checkpoint', 'the encoder of images'),
        launching.checkpoint('fusion_checkpoint', 'the fusion'),
        launching.checkpoint('heads_checkpoint', 'the heads'),
        launching.WEIGHTS_ARGUMENT,
        launching.GRID,
    )
    return launching.description(arguments, actions)
