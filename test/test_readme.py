# SPDX-License-Identifier: Apache-2.0
"""The README tells what is there, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rclpy
from node_bench import values_of
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.inference.backbone_paths import FrameStatistics
from tiny_bev_ros.nodes import parameters
from tiny_bev_ros.nodes.model_factory import make_grid
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

README = (Path(__file__).resolve().parents[1] / 'README.md').read_text()
LETTERS = {
    'F': 'pfn_node',
    'B': 'backbone_node',
    'C': 'camera_node',
    'U': 'fusion_node',
    'H': 'heads_node',
    'P': 'pipeline_node',
}


def test_table_of_parameters():
    table = README.split('## Parameters')[1].split('##')[0]
    told: dict[str, set[str]] = {}
    for line in table.splitlines():
        if not line.startswith('| `'):
            continue
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        for name in re.findall(r'`([^`]+)`', cells[0]):
            told[name] = {LETTERS[letter] for letter in cells[2].split()}
    there = {
        name: {node for node, group in parameters.NODES.items() if parameter in group}
        for name, parameter in parameters.ALL.items()
    }
    assert told == there


def test_the_picture_of_the_system_has_every_node_and_its_topics():
    picture = README.split('```mermaid')[1].split('```')[0]
    drawn = set(re.findall(r'\b[a-z]+_node\b', picture))
    assert drawn == set(parameters.NODES) - {'pipeline_node'}
    table = README.split('| executable | subscribes')[1].split('\n\n')[0]
    topics = set(re.findall(r'`([A-Za-z_/]+)`', table)) - {*parameters.NODES}
    drawn_topics = set(re.findall(r'[A-Za-z_/]+', picture))
    missing = {topic for topic in topics if topic.removeprefix('NAME/') not in
               {each.removeprefix('NAME/') for each in drawn_topics}}  # fmt: skip
    assert not missing


def test_stars_of_parameters():
    table = README.split('## Parameters')[1].split('##')[0]
    rows = [line.strip('|').split('|') for line in table.splitlines() if line.startswith('| `')]
    starred = {
        name for row in rows for name in re.findall(r'`([^`]+)`', row[0]) if '*' in row[3][:3]
    }
    always = {name for name, each in parameters.ALL.items() if each.changes == 'always'}
    assert starred == always


def test_table_of_diagnostics_has_the_keys_of_a_node():
    table = README.split('| key | value |')[1].split('\n\n')[0]
    told = set(
        re.findall(r'`([^`]+)`', ''.join(row.split('|')[1] for row in table.splitlines()[2:]))
    )
    context = rclpy.Context()
    context.init(domain_id=104)
    overrides = [RosParameter('cameras', value=['NAME'])]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    try:
        assert node.start()
        node.backbone_statistics = FrameStatistics('sparse', 0.1, 0.1)
        node.stats.points.count_in_grid(np.zeros((1, 4), np.float32), 1, 1, make_grid(node.values))
        for path in ('sparse', 'dense'):
            node.stats.count_path(path)
        keys = set(values_of(node))
    finally:
        node.destroy_node()
        context.try_shutdown()
    causes = {key for key in keys if key.startswith('dropped_')}
    assert told == keys - causes | {'dropped_CAUSE'}
    (row,) = [row for row in table.splitlines() if 'CAUSE' in row]
    assert causes == {f'dropped_{cause}' for cause in row.split(':')[1].strip(' |').split(', ')}


@pytest.mark.parametrize('number', range(3))
def test_python_examples_are_correct(number: int):
    example = re.findall(r'```python\n(.*?)```', README, re.DOTALL)[number]
    if 'rclpy.spin' in example:
        compile(example, 'README.md', 'exec')
    elif 'BackboneRunner' in example:
        scope: dict = {}
        exec(example, scope)
        assert scope['bev'].shape == (1, 128, 248, 216)
        assert scope['engine'].statistics.path == 'sparse'
    else:
        scope = {}
        exec(example, scope)
        assert scope['tokens'].shape == (1, 10000, 128)
        assert sum(p.numel() for p in scope['backbone'].parameters()) == 300_352


def test_links_lead_somewhere():
    for target in re.findall(r'\]\(([^)]+)\)', README):
        assert (Path(__file__).resolve().parents[1] / target).exists(), target
