# SPDX-License-Identifier: Apache-2.0
"""The backbone alone: pseudo_image to bev_features."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription

from tiny_bev_ros.tools import launching


def actions(context: LaunchContext) -> list:
    return [
        launching.node(
            context,
            'backbone_node',
            {'pseudo_image': 'input_topic', 'bev_features': 'output_topic'},
            {'device': 'device', 'backbone.checkpoint': 'checkpoint'},
        ),
        *launching.bag_player(context),
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = (
        launching.topic('input_topic', 'pseudo_image', 'pseudo-images, multi-array (B,C,H,W)'),
        launching.topic('output_topic', 'bev_features', 'features, multi-array (B,C,H/2,W/2)'),
        launching.checkpoint('checkpoint', 'the backbone'),
    )
    return launching.description(arguments, actions)
