# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The README is short, agrees with the package and the documentation, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import markdown_page
import numpy as np
import pytest
import yaml
from markdown_page import DOCS, ROOT, rows

from tiny_bev_ros.nodes import help_text, parameters

README = ROOT / 'README.md'
TEXT = README.read_text(encoding='utf-8')
MAX_LINES = 150


def section(heading: str) -> str:
    return TEXT.split(f'\n## {heading}\n')[1].split('\n## ')[0]


def names(cell: str) -> list[str]:
    return re.findall(r'`([^`]+)`', cell)


def topics() -> set[str]:
    texts = [f'{each.subscribes}, {each.publishes}' for each in help_text.PURPOSES.values()]
    words = {word for text in texts for word in re.findall(r'[A-Za-z_/]+', text)}
    known = ('points', 'pillars', 'detections')
    found = {word for word in words if '_' in word or '/' in word or word in known}
    # camera_node names them without the namespace of its camera.
    return {f'NAME/{word}' if f'NAME/{word}' in found else word for word in found}


def test_it_is_short():
    assert len(TEXT.splitlines()) <= MAX_LINES


def test_figure_has_every_node_and_its_topics():
    figure = (DOCS / 'images/nodes.svg').read_text()
    words = set(re.findall(r'[A-Za-z_/]+', ' '.join(re.findall(r'<text[^>]*>([^<]+)', figure))))
    assert {word for word in words if word.endswith('_node')} == set(parameters.NODES)
    assert topics() <= words


def test_table_of_topics():
    named = {name for row in rows(section('Nodes and topics')) for name in names(row[0])}
    assert named == topics() - {'NAME/camera_features'}


def test_table_of_parameters():
    table = rows(section('Parameters that matter'))
    assert len(table) == 7
    for row in table:
        for name in names(row[0]):
            parameter = parameters.ALL[name]
            if not name.startswith('grid.'):
                assert parameter.default == type(parameter.default)(yaml.safe_load(row[1]))


@pytest.mark.parametrize('heading', ['Accuracy', 'Latency'])
def test_figures_are_those_of_the_documentation(heading: str):
    page = {'Accuracy': 'model_card.md', 'Latency': 'benchmarks.md'}[heading]
    known = re.findall(r'\d+(?:\.\d+)?', (DOCS / page).read_text())
    rounded = {*known, *(f'{float(number):.2f}' for number in known)}
    for row in rows(section(heading)):
        assert set(re.findall(r'(?<![\d-])\d+(?:\.\d+)?(?![\d-])', ' '.join(row[1:]))) <= rounded


def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (example,) = markdown_page.blocks(README, 'python')
    rng = np.random.default_rng(0)
    points = rng.uniform([0, -25, -2, 0], [50, 25, 1, 1], (20_000, 4)).astype(np.float32)
    points.tofile(tmp_path / 'sweep.bin')
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(example, scope)
    assert scope['points'].shape == points.shape
    assert len([line for line in example.splitlines() if line]) <= 6
