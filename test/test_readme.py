# SPDX-License-Identifier: Apache-2.0
"""The README tells what is there, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tiny_bev_ros.nodes import parameters

README = (Path(__file__).resolve().parents[1] / 'README.md').read_text()
LETTERS = {'F': 'pfn_node', 'B': 'backbone_node', 'P': 'pipeline_node'}


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


@pytest.mark.parametrize('number', range(3))
def test_python_examples_are_correct(number: int):
    example = re.findall(r'```python\n(.*?)```', README, re.DOTALL)[number]
    if 'rclpy.spin' in example:
        compile(example, 'README.md', 'exec')
    elif 'BackboneEngine' in example:
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
