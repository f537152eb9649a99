# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The parameter `weights`: shipped weights by default, in every node by the same rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.nodes import shipped_weights
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.fusion_node import FusionNode
from tiny_bev_ros.nodes.heads_node import HeadsNode
from tiny_bev_ros.nodes.pfn_node import PfnNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.resources import CHECKPOINTS, WEIGHTS, weights_file

STREET = weights_file('street')
CHANNELS = {'pfn.out_channels': 32, 'backbone.in_channels': 32, 'backbone.out_channels': 64}


@pytest.fixture(autouse=True)
def _as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_weights, 'AUTO', WEIGHTS[0])


@pytest.fixture(scope='module')
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init()
    yield context
    context.try_shutdown()


@pytest.fixture
def values(context: rclpy.Context):
    """Function that returns the parameters of a node for given values."""

    def of(node_class: Any, **given: Any) -> dict[str, Any]:
        overrides = [
            RosParameter(name.replace('__', '.'), value=value) for name, value in given.items()
        ]
        node = node_class(context=context, parameter_overrides=overrides)
        values = node.values
        for name, value in values.items():
            reported = node.get_parameter(name).value
            assert (list(reported) if isinstance(value, list) else reported) == value
        node.destroy_node()
        return values

    return of


@pytest.mark.parametrize(
    'node_class', [PfnNode, BackboneNode, FusionNode, HeadsNode, PipelineNode]
)
def test_a_node_by_hand_takes_the_shipped_weights(values, node_class):
    found = values(node_class)
    assert found['weights'] == 'street'
    for name in CHECKPOINTS:
        assert found.get(name, STREET) == STREET
    for name, channels in CHANNELS.items():
        assert found.get(name, channels) == channels
    assert found.get('grid.resolution', 0.2) == 0.2


def test_none_is_random_as_before(values):
    found = values(PipelineNode, weights='none')
    assert found['weights'] == 'none'
    assert [found[name] for name in CHECKPOINTS] == ['', '', '']
    assert (found['grid.resolution'], found['backbone.name']) == (0.16, 'tiny')


def test_what_fits_the_weights_is_free(values):
    found = values(
        PipelineNode,
        grid__x_range=[-51.2, 51.2],
        grid__resolution=0.2,
        heads__names=['drivable'],
        backbone__precision='bfloat16',
    )
    assert (found['weights'], found['pfn.checkpoint']) == ('street', STREET)
    assert found['grid.x_range'] == [-51.2, 51.2]
    assert found['heads.names'] == ['drivable']


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('grid.resolution', 0.16),
        ('grid.z_range', [-3.0, 1.0]),
        ('backbone.name', 'tiny'),
        ('pfn.max_points', 32),
        ('heads.checkpoint', '/mine.pt'),
        ('pfn.checkpoint', ''),
    ],
)
def test_auto_gives_way_to_what_is_given(values, name: str, value: Any):
    """All nodes decide alike, even on a parameter that another node has."""
    for node_class in (PfnNode, BackboneNode, HeadsNode, PipelineNode):
        found = values(node_class, **{name.replace('.', '__'): value})
        assert found['weights'] == 'none'
        assert found.get(name, value) == value
        assert found.get('pfn.out_channels', 64) == 64


def test_reason_names_the_parameter_both_values_and_the_weights():
    chosen = shipped_weights.choose('auto', {'device': 'cpu', 'grid.resolution': 0.16})
    assert (chosen.name, chosen.reason) == ('none', 'grid.resolution is 0.16; street has 0.2')


def test_named_weights_stay_and_what_is_given_wins(context):
    overrides = [
        RosParameter('weights', value='street'),
        RosParameter('grid.resolution', value=0.4),
        RosParameter('device', value='cpu'),
    ]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert node.values['pfn.checkpoint'] == STREET
        assert not node.start()
        assert 'parameter grid.resolution is 0.4' in node.fault
        assert 'expected 0.2' in node.fault
    finally:
        node.destroy_node()


def test_a_wrong_name_is_one_clear_error(context):
    overrides = [RosParameter('weights', value='strasse')]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert not node.start()
        assert node.fault == ("parameter weights is 'strasse'; expected one of auto, none, street")
    finally:
        node.destroy_node()


def test_the_node_works_with_them(context):
    overrides = [RosParameter('device', value='cpu')]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert node.start(), node.fault
        assert node.models.digests['heads'] == node.models.digests['pfn']
    finally:
        node.destroy_node()
