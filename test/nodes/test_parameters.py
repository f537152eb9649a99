# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of running nodes: defaults, ranges, descriptions and changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.parameter import Parameter as RosParameter
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.nodes import parameters
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.parameter_definitions.networks import GRID
from tiny_bev_ros.nodes.pfn_node import PfnNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.nodes.shipped_weights import flat_parameters
from tiny_bev_ros.resources import GRIDS

CONFIG = Path(__file__).resolve().parents[2] / 'config'


@pytest.fixture(scope='module')
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init()
    yield context
    context.try_shutdown()


@pytest.mark.parametrize('name', GRIDS)
def test_presets_hold_a_grid_and_nothing_else(name: str):
    content = yaml.safe_load((CONFIG / f'grids/{name}.yaml').read_text())
    values = flat_parameters(content['/**']['ros__parameters'])
    assert set(values) == {parameter.name for parameter in GRID}
    grid = BevGrid(*(values[parameter.name] for parameter in GRID))
    shapes = {
        'kitti': (496, 432),
        'square_200': (200, 200),
        'surround': (512, 512),
        'close': (200, 200),
        'ahead': (256, 256),
        'around': (512, 512),
    }
    assert grid.shape == shapes[name]


def test_every_preset_is_offered():
    assert {path.stem for path in (CONFIG / 'grids').glob('*.yaml')} == set(GRIDS)


def test_no_choice_is_a_word_that_yaml_takes_for_a_truth_value():
    for parameter in parameters.ALL.values():
        for choice in parameter.choices:
            assert yaml.safe_load(str(choice)) == choice, parameter.name


def test_a_name_means_the_same_in_every_node():
    for group in parameters.NODES.values():
        for parameter in group:
            assert parameters.ALL[parameter.name] == parameter


def test_defaults_are_allowed_values():
    for parameter in parameters.ALL.values():
        parameter.check(parameter.default)
        assert parameter.description


def test_describe_tells_meaning_range_choices_and_whether_it_can_change(context):
    node = BackboneNode(context=context)
    names = ['seed', 'device', 'bev_image.channel', 'autostart']
    described = {d.name: d for d in node.describe_parameters(names)}
    assert described['seed'].description == 'seed of random weights'
    assert described['seed'].integer_range[0].to_value == 2**31 - 1
    assert described['autostart'].read_only
    assert not described['seed'].read_only
    unconfigured = 'changes only while the node is unconfigured'
    assert described['seed'].additional_constraints == unconfigured
    assert described['bev_image.channel'].additional_constraints == ''
    encoding = node.describe_parameter('output_encoding')
    assert encoding.additional_constraints == 'one of float32, float16'
    reliability = node.describe_parameter('input_reliability')
    assert reliability.additional_constraints == (
        f'one of auto, reliable, best_effort; {unconfigured}'
    )
    node.destroy_node()


def change(node: Any, **values: Any) -> str:
    """Sets parameters, `a__b` for a.b, all or none; returns '' or the reason."""
    result = node.set_parameters_atomically(
        [RosParameter(name.replace('__', '.'), value=value) for name, value in values.items()]
    )
    assert result.successful != bool(result.reason)
    return result.reason


def test_changes_at_run_time(context):
    node = BackboneNode(context=context)
    assert node.start()
    assert change(node, bev_image__channel=5) == ''
    assert node.get_parameter('bev_image.channel').value == 5
    assert change(node, bev_image__channel=-2)
    reason = change(node, bev_image__channel=128, max_age_ms=50.0)
    assert reason == 'parameter bev_image.channel is 128; expected -1 to 127'
    assert node.get_parameter('bev_image.channel').value == node.values['bev_image.channel'] == 5
    assert node.staleness.max_age_ms == node.values['max_age_ms'] == 0
    assert change(node, max_age_ms=50.0) == ''
    assert node.staleness.max_age_ms == 50
    node.destroy_node()


def test_what_is_fixed_changes_only_while_the_node_is_unconfigured(context):
    node = BackboneNode(context=context)
    assert change(node, seed=3) == ''
    assert node.start()
    assert change(node, seed=3) == ''  # as when a whole file is loaded
    assert change(node, seed=5) == (
        'parameter seed changes only while the node is unconfigured; '
        'deactivate and clean it up first'
    )
    assert node.get_parameter('seed').value == node.values['seed'] == 3
    node.trigger_deactivate()
    assert 'unconfigured' in change(node, seed=5)
    node.trigger_cleanup()
    assert change(node, seed=5) == ''
    assert change(node, autostart=False)
    node.destroy_node()


def test_a_wrong_start_value_can_be_mended(context):
    wrong = [RosParameter('device', value=3), RosParameter('backbone.name', value='tinny')]
    node = PipelineNode(context=context, parameter_overrides=wrong)
    assert not node.start()
    assert (node.state, node.fault) == (
        'unconfigured',
        "parameter device is 3 (INTEGER); expected STRING, as in 'auto'",
    )
    assert change(node, device='cpu') == ''
    assert not node.start()
    assert node.fault.startswith('parameter backbone.name: ')
    assert change(node, backbone__name='tiny') == ''
    assert node.start()
    assert (node.state, node.fault) == ('active', '')
    node.destroy_node()


@pytest.mark.parametrize('value', ['auto', 0.4, 1, -0.5])
def test_a_height_is_a_word_or_a_number(context, value: Any):
    given = RosParameter('cloud.sensor_height', value=value)
    node = PipelineNode(context=context, parameter_overrides=[given])
    assert node.start(), node.fault
    assert node.get_parameter('cloud.sensor_height').value == value
    assert 'cloud.sensor_height' not in [each.name for each in parameters.NODES['pfn_node']]
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert change(node, cloud__sensor_height=2.5) == ''
    assert change(node, cloud__sensor_height='auto') == ''
    node.destroy_node()


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('device', 'cuda:99', "device is 'cuda:99'"),
        ('device', 'gpu', "device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ('device', 3, 'device is 3 (INTEGER); expected STRING'),
        ('grid.resolution', 0.0, 'grid.resolution is 0.0; expected 0.001 to 1000'),
        ('grid.resolution', 1, 'grid.resolution is 1 (INTEGER); expected DOUBLE'),
        ('grid.x_range', [0.0, 10.03], 'parameter grid.x_range is [0, 10.03] m'),
        ('grid.x_range', [0.0], 'parameter grid.x_range is (0.0,); expected two numbers'),
        ('grid.y_range', [5.0, -5.0], 'grid.y_range is [5, -5] m; expected min below max'),
        ('pfn.in_channels', 12, 'pfn.in_channels is 12; expected one of 9, 10, 11'),
        ('pfn.max_points', -1, 'pfn.max_points is -1; expected 0 to 1024'),
        ('backbone.name', 'tinny', 'parameter backbone.name: '),
        ('backbone.in_channels', 32, 'expected 64, as pfn.out_channels'),
        ('backbone.checkpoint', '/nowhere/x.pt', 'checkpoint is /nowhere/x.pt, which is no file'),
        ('output_encoding', 'float64', 'expected one of float32, float16'),
        ('input_reliability', 'maybe', 'expected one of auto, reliable, best_effort'),
        ('num_threads', 1000, 'num_threads is 1000; expected 0 to 256'),
        ('cloud.intensity_scale', -1.0, 'cloud.intensity_scale is -1.0; expected 1e-09 to 1e+09'),
        ('cloud.intensity_field', '', "cloud.intensity_field is ''"),
        ('cloud.sensor_height', 'low', "is 'low'; expected one of auto, or -10 to 10"),
        ('cloud.sensor_height', 11.0, 'cloud.sensor_height is 11.0; expected -10 to 10'),
        ('cloud.sensor_height', True, "is True (BOOL); expected STRING, as in 'auto'"),
        ('cloud.self_box', [1.0, 2.0], 'parameter cloud.self_box is [1.0, 2.0]; expected 6'),
        ('cloud.self_box', [2.0, 1.0, 0.0, 1.0, 0.0, 1.0], 'parameter cloud.self_box has x0 2'),
        ('bev_image.channel', 128, 'bev_image.channel is 128; expected -1 to 127'),
        ('cloud.missing_intensity', 'one', 'expected one of zero, error'),
        (
            'output_roi.x_range',
            [3.0, 3.0],
            'parameter output_roi.x_range is [3.0, 3.0] m; expected [min',
        ),
        (
            'output_roi.x_range',
            [70.0, 80.0],
            'parameter output_roi.x_range is [70, 80] m; expected an overlap',
        ),
    ],
)
def test_a_wrong_value_is_one_clear_error(context, name: str, value: Any, reason: str):
    node = PipelineNode(context=context, parameter_overrides=[RosParameter(name, value=value)])
    assert not node.start()
    assert reason in node.fault
    assert '\n' not in node.fault
    assert node.state == 'unconfigured'
    node.destroy_node()


def test_eleven_channels_need_a_time_field(context):
    node = PipelineNode(context=context)
    assert change(node, pfn__in_channels=11) == ''
    assert not node.start()
    assert "cloud.time_field is ''; expected the name of" in node.fault
    assert change(node, pfn__in_channels=10, cloud__time_field='t') == ''
    assert not node.start()
    assert "cloud.time_field is 't'; expected ''" in node.fault
    assert change(node, pfn__in_channels=11) == ''
    assert node.start()
    node.destroy_node()


def test_a_grid_that_float16_cannot_count_has_no_pillars(context):
    overrides = [
        RosParameter('grid.x_range', value=[0.0, 205.0]),
        RosParameter('grid.y_range', value=[-1.0, 1.0]),
        RosParameter('grid.resolution', value=0.1),
    ]
    node = PfnNode(context=context, parameter_overrides=overrides)
    assert node.start()
    output = node._output
    subscription = node.create_subscription(Float32MultiArray, 'pillars', lambda _: None, 1)
    assert wait_for(lambda: output.subscribed() == {'pillars'})
    node.destroy_subscription(subscription)
    assert change(node, output_encoding='float16') == ''
    node.create_subscription(UInt8MultiArray, 'pillars', lambda _: None, 1)
    assert wait_for(lambda: output._sparse.has_subscribers)
    assert not output.subscribed()
    node.destroy_node()


def wait_for(done: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return done()
