# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Diagnostics from reports alone, published by a plain rclpy node."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from node_bench import status_of
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.nodes import diagnostics
from tiny_bev_ros.nodes.diagnostics import NodeDiagnostics, NodeReport
from tiny_bev_ros.nodes.parameters import ALL
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.runtime.stats import InputStats

THRESHOLDS = {name: each.default for name, each in ALL.items() if name.startswith('diagnostics.')}


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init()
    yield context
    context.try_shutdown()


def test_a_report_of_a_plain_node_becomes_a_status(context):
    node = rclpy.create_node('plain', context=context)
    try:
        made = NodeDiagnostics(node, InputStats(node.get_logger(), lambda: 0))
        made.record_frame(12.0, 34.0)
        status = made.status(NodeReport('active', '', THRESHOLDS, has_subscribers=True))
        values = {pair.key: pair.value for pair in status.values}
        assert status.name == "plain: bird's-eye view"
        assert values['latency_p95_ms'] == '12.0'
        assert values['output_age_p95_ms'] == '34.0'
        assert 'device' not in values
        status = made.status(NodeReport('unconfigured', 'a fault', THRESHOLDS))
        assert (status.level, status.message) == (b'\x02', 'unconfigured: a fault')
    finally:
        node.destroy_node()


def test_diagnostics_use_of_a_node_only_what_rclpy_gives():
    source = Path(inspect.getfile(diagnostics)).read_text()
    assert 'bev_node' not in source
    used = {
        each.attr
        for each in ast.walk(ast.parse(source))
        if isinstance(each, ast.Attribute)
        and isinstance(each.value, ast.Attribute)
        and each.value.attr == '_node'
    }
    assert used
    assert all(hasattr(Node, name) and not name.startswith('_') for name in used)


def test_keys_are_words_in_snake_case(context):
    overrides = [RosParameter('cameras', value=['front'])]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert node.start()
        keys = {pair.key for pair in status_of(node).values}
    finally:
        node.destroy_node()
    assert len(keys) > 25
    assert all(re.fullmatch(r'[a-z0-9]+(_[a-z0-9]+)*', key) for key in keys)
