# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""RViz configuration: its topics are those of the nodes, with their types and QoS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy

from tiny_bev_ros.nodes.pipeline_node import PipelineNode

ROOT = Path(__file__).resolve().parents[1]
# Message type that each display plugin subscribes to.
TYPES = {
    'rviz_default_plugins/PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'rviz_default_plugins/MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'rviz_default_plugins/Map': 'nav_msgs/msg/OccupancyGrid',
    'rviz_default_plugins/Image': 'sensor_msgs/msg/Image',
}
SMALL = {'grid.x_range': [0.0, 16.0], 'grid.y_range': [-8.0, 8.0], 'grid.resolution': 0.5}


def displays() -> list[dict[str, Any]]:
    content = yaml.safe_load((ROOT / 'rviz/detections.rviz').read_text())
    return [each for each in content['Visualization Manager']['Displays'] if 'Topic' in each]


@pytest.fixture(scope='module')
def node() -> Iterator[PipelineNode]:
    context = rclpy.Context()
    context.init()
    overrides = [
        rclpy.Parameter(name, value=value) for name, value in {**SMALL, 'device': 'cpu'}.items()
    ]
    node = PipelineNode(context=context, namespace='/car', parameter_overrides=overrides)
    assert node.start(), node.fault
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_cloud_objects_area_and_image_are_shown():
    topics = {each['Topic']['Value'] for each in displays()}
    assert topics == {'points', 'detection_markers', 'drivable_area', 'bev_image'}


@pytest.mark.parametrize('display', displays(), ids=lambda each: each['Topic']['Value'])
def test_a_display_subscribes_to_a_topic_of_the_node(node, display: dict[str, Any]):
    """The topic is relative, so that it lies in the namespace that rviz2 is started in."""
    topic, name = display['Topic'], f'/car/{display["Topic"]["Value"]}'
    assert display['Enabled']
    assert display['Value']
    if name == '/car/points':
        ends = node.get_subscriptions_info_by_topic(name)
    else:
        ends = node.get_publishers_info_by_topic(name)
    (end,) = ends
    assert end.topic_type == TYPES[display['Class']]
    if name == '/car/points':
        assert topic['Reliability Policy'] == 'Best Effort'  # takes any publisher
        return
    durabilities = {
        'Volatile': QoSDurabilityPolicy.VOLATILE,
        'Transient Local': QoSDurabilityPolicy.TRANSIENT_LOCAL,
    }
    assert durabilities[topic['Durability Policy']] == end.qos_profile.durability
    assert topic['Reliability Policy'] == 'Reliable'
    assert end.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'launch').glob('*.py')), ids=lambda path: path.name
)
def test_every_launch_file_starts_rviz(path: Path):
    assert 'launch_utils.tools(' in path.read_text()
    utils = (ROOT / 'tiny_bev_ros/launch_utils.py').read_text()
    assert 'rviz_file()' in utils


def test_the_configuration_is_installed():
    from tiny_bev_ros.resources import rviz_file

    assert Path(rviz_file()).read_text() == (ROOT / 'rviz/detections.rviz').read_text()
