# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Faults on running nodes: a few tries of each, and thousands of messages at each decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_inputs
import fault_rig
import faults
import numpy as np
import pytest
import rclpy
import torch
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from fault_mutations import mutated
from fault_registry import CASES, Outcome
from forked_node import ForkedNode
from node_bench import process
from rclpy.parameter import Parameter as RosParameter
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.messages.pillar_tensor import encode_pillars
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels, encode_tensor
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.pfn_node import PfnNode

MUTATIONS = 10_000
LABELS = TensorLabels((1, 2), 'lidar')


@pytest.mark.dds
@pytest.mark.parametrize('name', [name for name in CASES if name[0] != '('])
def test_a_node_recovers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    try:
        get_package_prefix('tiny_bev_ros')
    except PackageNotFoundError:
        pytest.skip('tiny_bev_ros is not built, or its install/local_setup.bash not sourced')
    monkeypatch.setattr(fault_inputs, '_MUTATIONS_PER_TRY', 200)
    monkeypatch.setattr(fault_rig, 'NodeProcess', ForkedNode)
    outcome = faults.run_case(name, tmp_path, 2)
    assert not outcome.problems
    if outcome.did.startswith('not tried'):
        pytest.skip(outcome.did)
    assert outcome.tries >= 2
    assert outcome.did


def message_for(kind: str) -> Any:
    random = np.random.default_rng(0)
    if kind == 'cloud':
        points = random.uniform([0, -8, -3, 0], [16, 8, 1, 1], (40, 4)).astype(np.float32)
        return encode_cloud(points, (1, 2), 'lidar')
    if kind == 'pillars':
        cells = torch.tensor([[0, 1], [2, 3], [3, 2]])
        return encode_pillars(torch.rand(3, 64), cells, (4, 4), LABELS)
    encoding = {'float32': 'float32', 'float16': 'float16'}[kind]
    return encode_tensor(random.random((1, 64, 4, 4), dtype=np.float32), LABELS, encoding)


@pytest.mark.dds
@pytest.mark.parametrize('kind', ['cloud', 'float32', 'float16', 'pillars'])
def test_changed_messages_are_processed_or_rejected(kind: str):
    """By the worker of an active node, each in turn: from a topic most would be replaced."""
    context = rclpy.Context()
    context.init()
    node_class: type[BevNode] = PfnNode if kind == 'cloud' else BackboneNode
    values: dict[str, Any] = {'device': 'cpu', 'max_message_mb': 1}
    if kind == 'cloud':
        values |= {
            'grid.x_range': [0.0, 16.0],
            'grid.y_range': [-8.0, 8.0],
            'grid.resolution': 0.5,
        }
    elif kind == 'pillars':
        values['input_format'] = 'pillars'
    overrides = [RosParameter(name, value=value) for name, value in values.items()]
    node = node_class(context=context, namespace=f'/{kind}', parameter_overrides=overrides)
    try:
        assert node.start()
        topic = 'pseudo_image' if kind == 'cloud' else 'bev_features'
        node.create_subscription(Float32MultiArray, topic, lambda _: None, 1)
        good, random, stats = message_for(kind), np.random.default_rng(1), node.stats
        for count in range(MUTATIONS):
            process(node, mutated(good, random))
            assert stats.dropped['failed'] == 0, f'message {count}'
            assert stats.pending == 0
        # Changes that leave a message right are rare, but they are there.
        assert stats.published + stats.dropped['rejected'] == MUTATIONS
        assert min(stats.published, stats.dropped['rejected']) > MUTATIONS // 50
        assert node.state == 'active'
        process(node, good)
        assert stats.published + stats.dropped['rejected'] == MUTATIONS + 1
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_mutations_are_many_and_repeatable():
    good = message_for('float32')
    changed = [mutated(good, np.random.default_rng(seed)) for seed in range(200)]
    assert sum(message != good for message in changed) > 150
    assert good == message_for('float32')
    assert mutated(good, np.random.default_rng(7)) == changed[7] or np.isnan(changed[7].data).any()
    kinds = {type(message) for message in changed}
    assert kinds == {Float32MultiArray}
    assert isinstance(mutated(message_for('float16'), np.random.default_rng(0)), UInt8MultiArray)


def test_the_table_reports_failures_and_replaces_the_old_one(tmp_path: Path):
    outcomes = {
        'good': Outcome(3, 'nothing', 1, 0.25),
        'bad': Outcome(2, 'something', problems=['it ended', 'a wrong output']),
    }
    text = faults.table(outcomes)
    assert '| good | 3 | nothing | 1 | 0.25 |' in text
    assert '| bad | 2 | **FAILED**: it ended; a wrong output | 0 | 0.00 |' in text
    document = tmp_path / 'x.md'
    document.write_text(f'a\n{faults._BEGIN}\nold\n{faults._END}\nb\n')
    faults.replace_table(document, text)
    assert document.read_text() == f'a\n{faults._BEGIN}\n{text}\n{faults._END}\nb\n'
