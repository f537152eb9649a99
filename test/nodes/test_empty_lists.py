# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Empty arrays: [] is an empty list for every array parameter, although ROS gives it no type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.nodes import parameters
from tiny_bev_ros.nodes.heads_node import HeadsNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

SMALL = {
    'grid.x_range': '[0.0, 16.0]',
    'grid.y_range': '[-8.0, 8.0]',
    'grid.resolution': '0.5',
    'device': 'cpu',
    # Parameters of cameras are read only for a node with cameras.
    'cameras': '[front]',
    'extrinsics.front': '[0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]',
}
ARRAYS = [name for name, each in parameters.ALL.items() if isinstance(each.default, list)]


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    yield context
    context.try_shutdown()


def test_no_heads_and_no_cameras_in_a_yaml_file(context, tmp_path: Path):
    path = tmp_path / 'mine.yaml'
    grid = '{x_range: [0.0, 16.0], y_range: [-8.0, 8.0], resolution: 0.5}'
    lists = 'cameras: [], heads: {names: []}'
    text = f'/**:\n  ros__parameters: {{{lists}, device: cpu, grid: {grid}}}\n'
    path.write_text(text)
    context.init(['--ros-args', '--params-file', str(path)])
    node = PipelineNode(context=context)
    try:
        assert node.start(), node.fault
        assert node.values['cameras'] == node.values['heads.names'] == []
        assert node.get_parameter('heads.names').type_ == RosParameter.Type.STRING_ARRAY
        assert 'heads' not in node.models.digests
        topics = {name for name, _ in node.get_topic_names_and_types()}
        assert '/bev_features' in topics
        assert not topics & {'/detection_boxes', '/drivable_area'}
    finally:
        node.destroy_node()


@pytest.mark.parametrize('name', ARRAYS)
def test_no_array_is_of_a_wrong_type_when_it_is_empty(context, name: str):
    """An empty array is refused for its meaning only."""
    given = {**SMALL, name: '[]'}
    words = [word for each, text in given.items() for word in ('-p', f'{each}:={text}')]
    context.init(['--ros-args', *words])
    node = PipelineNode(context=context)
    try:
        assert node.values[name] == []
        node.start()
        assert (node.fault == '') == (name in ('cameras', 'heads.names', 'cloud.self_box'))
        assert 'NOT_SET' not in node.fault
        if node.fault:
            assert f'{name} is ' in node.fault
            assert 'expected' in node.fault
    finally:
        node.destroy_node()


def test_an_empty_pose_is_refused_with_the_name_of_the_camera(context):
    arguments = ['--ros-args', '-p', 'cameras:=[front]', '-p', 'extrinsics.front:=[]']
    context.init(arguments)
    node = PipelineNode(context=context)
    try:
        assert not node.start()
        assert node.fault.startswith('parameter extrinsics.front: ')
    finally:
        node.destroy_node()


def test_a_scalar_is_no_list(context):
    context.init(['--ros-args', '-p', 'device:=[]'])
    node = PipelineNode(context=context)
    try:
        assert not node.start()
        assert node.fault == "parameter device is []; expected STRING, as in 'auto'"
    finally:
        node.destroy_node()


@pytest.mark.parametrize(
    'kind', [ParameterType.PARAMETER_BOOL_ARRAY, ParameterType.PARAMETER_BYTE_ARRAY,
             ParameterType.PARAMETER_STRING_ARRAY]
)  # fmt: skip
def test_ros2_param_set(context, kind: int):
    """`ros2 param set` sends [] as an array of booleans, rclpy as an array of bytes."""
    context.init()
    node = PipelineNode(context=context)
    try:
        message = ParameterMessage(name='cameras', value=ParameterValue(type=kind))
        (result,) = node.set_parameters([RosParameter.from_parameter_msg(message)])
        assert result.successful, result.reason
        assert node.values['cameras'] == []
        (result,) = node.set_parameters([RosParameter('cameras', value=['front'])])
        assert result.successful, result.reason
        assert node.values['cameras'] == ['front']
    finally:
        node.destroy_node()


@pytest.mark.parametrize('value', [[1, 2], 'front', None])
def test_other_types_are_refused_while_it_runs(context, value: Any):
    context.init()
    node = PipelineNode(context=context)
    try:
        (result,) = node.set_parameters([RosParameter('cameras', value=value)])
        assert not result.successful
        assert result.reason.startswith('parameter cameras ')
        assert node.get_parameter('cameras').value == ['']
    finally:
        node.destroy_node()


def test_heads_node_without_heads_is_refused(context):
    context.init(['--ros-args', '-p', 'heads.names:=[]'])
    node = HeadsNode(context=context)
    try:
        assert not node.start()
        assert node.fault == 'parameter heads.names is []; expected one at least'
    finally:
        node.destroy_node()
