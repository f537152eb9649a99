# SPDX-License-Identifier: Apache-2.0
"""Points and images to fused features, objects and drivable area, in one process or in several."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument

from tiny_bev_ros.tools import launching

INPUT = {'points': 'input_topic'}
IMAGE = {'image': 'image_topic'}
OUTPUT = {'fused_features': 'output_topic'}
PFN = {'device': 'device', 'pfn.checkpoint': 'pfn_checkpoint'}
BACKBONE = {'device': 'device', 'backbone.checkpoint': 'backbone_checkpoint'}
CAMERA = {'device': 'device', 'camera.checkpoint': 'camera_checkpoint'}
FUSION = {'device': 'device', 'fusion.checkpoint': 'fusion_checkpoint'}
HEADS = {'device': 'device', 'heads_checkpoint': 'heads_checkpoint'}


def actions(context: LaunchContext) -> list:
    names = launching.names(context, 'cameras')
    if launching.argument_value(context, 'composed') == 'true':
        overrides = PFN | BACKBONE | CAMERA | FUSION | HEADS
        image = launching.argument_value(context, 'image_topic')
        renamed = {f'{name}/image': f'{name}/{image}' for name in names}
        nodes = [
            launching.node(
                context,
                'pipeline_node',
                INPUT | OUTPUT,
                overrides,
                renamed=renamed,
                cameras=names,
            )
        ]
    else:
        nodes = [
            launching.node(context, 'pfn_node', INPUT, PFN),
            launching.node(context, 'backbone_node', {}, BACKBONE, input='pillars'),
            *(launching.node(context, 'camera_node', IMAGE, CAMERA, below=name) for name in names),
            launching.node(context, 'fusion_node', OUTPUT, FUSION, cameras=names),
            launching.node(context, 'heads_node', {'bev_features': 'output_topic'}, HEADS),
        ]
    return [*nodes, *launching.bag_player(context)]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        DeclareLaunchArgument(
            'composed',
            default_value='true',
            choices=['true', 'false'],
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
            'image_topic', 'image', 'sensor_msgs/Image of each camera, relative to its name'
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
