# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files that `make params` writes: up to date, complete, and a schema that refuses mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tiny_bev_ros.nodes import parameters, shipped_weights
from tiny_bev_ros.nodes.generate_parameter_files import COMMAND, parameter_files
from tiny_bev_ros.nodes.shipped_weights import flat_parameters

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config'
FILES = [
    CONFIG / 'params.yaml', *CONFIG.glob('grids/*.yaml'), *CONFIG.glob('weights/*.yaml')
]  # fmt: skip


def whole(path: Path) -> str:
    """Text of a parameter file with the parameters behind a #, which no space follows."""
    return re.sub(r'(?m)^    #(?! )|^    #(?=  )', '    ', path.read_text())


def read(text: str) -> dict[str, Any]:
    content = yaml.safe_load(text)
    assert list(content) == ['/**']  # else they do not reach a node of another name
    assert list(content['/**']) == ['ros__parameters']
    return flat_parameters(content['/**']['ros__parameters'])


@pytest.fixture(scope='module')
def check() -> Callable[[Any], None]:
    schema = json.loads((CONFIG / 'params.schema.json').read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema).validate


@pytest.mark.parametrize('path', parameter_files(ROOT), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path):
    wanted = parameter_files(ROOT)[path]
    assert path.read_text(encoding='utf-8') == wanted, f'{path.name} is stale: run `{COMMAND}`'


def test_the_files_are_written_where_there_is_no_ros(tmp_path: Path):
    (tmp_path / 'config/weights').mkdir(parents=True)
    (tmp_path / 'docs').mkdir()
    street = CONFIG / 'weights/street.yaml'
    (tmp_path / 'config/weights/street.yaml').write_text(street.read_text())
    code = f"""
import os, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        root = name.partition('.')[0]
        if root in ('rclpy', 'ament_index_python', 'rcl_interfaces') or root.endswith('_msgs'):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {str(ROOT)!r})
from tiny_bev_ros.nodes import generate_parameter_files
generate_parameter_files.main()
"""
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for path in parameter_files(ROOT):
        assert (tmp_path / path.relative_to(ROOT)).read_text() == path.read_text()


def test_the_yaml_file_holds_every_parameter_with_its_default():
    defaults = {name: parameter.default for name, parameter in parameters.ALL.items()}
    found = read(whole(CONFIG / 'params.yaml'))
    assert found.pop('extrinsics.front')
    assert found == defaults
    assert {name: type(value) for name, value in found.items()} == {
        name: type(default) for name, default in defaults.items()
    }


def test_a_copy_of_the_yaml_file_leaves_to_the_weights_what_they_bring():
    given = read((CONFIG / 'params.yaml').read_text())
    brought = set(shipped_weights.defaults_of('street'))
    assert set(given) == set(parameters.ALL) - brought


def test_every_parameter_of_the_yaml_file_has_a_comment_and_a_star_if_it_always_changes():
    lines = whole(CONFIG / 'params.yaml').splitlines()
    starred = []
    for number, line in enumerate(lines):
        if line.strip().startswith('#') or not re.search(r'\w: ', line):
            continue
        if line.strip().startswith('front: '):
            continue
        first = number
        while lines[first - 1].strip().startswith('# ') and '---' not in lines[first - 1]:
            first -= 1
        assert first < number, line
        if any(each.strip().startswith('# * ') for each in lines[first:number]):
            starred.append(line.split(':')[0].strip())
    always = [name for name, each in parameters.ALL.items() if each.changes == 'always']
    assert sorted(starred) == sorted(name.split('.')[-1] for name in always)


def test_every_parameter_is_in_one_section():
    names = [each.name for section in parameters.SECTIONS for each in section.parameters]
    assert len(set(names)) == len(names)
    assert set(names) == set(parameters.ALL)


def test_the_page_lists_the_parameters_of_each_node():
    page = (ROOT / 'docs/parameters.md').read_text()
    tables = {
        title.strip('`'): set(re.findall(r'(?m)^\| `([^`]+)` \|', text))
        for title, text in re.findall(r'(?ms)^## (.*?)\n(.*?)(?=^## |\Z)', page)
    }
    common = tables.pop('All nodes')
    assert set(tables) == set(parameters.NODES)
    for node, group in parameters.NODES.items():
        found = common | tables[node] - {'extrinsics.NAME'}
        assert found == {parameter.name for parameter in group}
        has_cameras = 'cameras' in found
        assert ('extrinsics.NAME' in tables[node]) == has_cameras


@pytest.mark.parametrize('path', FILES, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_every_parameter_file_fits_the_schema(check, path: Path):
    check(yaml.safe_load(path.read_text()))
    check(yaml.safe_load(whole(path)))


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('/**', '{use_sim_time: true, cameras: [], heads: {names: []}}'),
        ('/**', '{qos_overrides: {/points: {subscription: {depth: 2}}}}'),
        ('/**', '{cameras: [a], extrinsics: {a: [0.3, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]}}'),
        ('pfn_node', '{grid: {resolution: 0.2}}'),
        ('/car/pfn_node', '{output_depth: 2}'),
        ('/**/camera_node', '{camera: {resize_width: 800}}'),
        ('other_node', '{anything: 3}'),
    ],
)
def test_the_schema_accepts(check, key: str, text: str):
    check({key: {'ros__parameters': yaml.safe_load(text)}})


@pytest.mark.parametrize(
    ('key', 'text', 'reason'),
    [
        ('/**', '{grid: {resolution: 0.0}}', '0.0 is less than the minimum of 0.001'),
        ('/**', '{grid: {resolution: fine}}', "'fine' is not of type 'number'"),
        ('/**', '{grid: {cell: 0.2}}', "'cell' was unexpected"),
        ('/**', '{backbone: {precision: float64}}', "'float64' is not one of"),
        ('/**', '{heads: {names: [nose]}}', "'nose' is not one of"),
        ('/**', '{heads: {names: [detection, detection]}}', 'has non-unique elements'),
        ('/**', '{num_threads: 1.5}', "1.5 is not of type 'integer'"),
        ('/**', '{autostart: 1}', "1 is not of type 'boolean'"),
        ('/**', '{colour: red}', "'colour' was unexpected"),
        ('/**', '{cameras: [a], extrinsics: {a: [0.3, 0.0]}}', 'is too short'),
        ('/car/camera_node', '{grid: {resolution: 0.2}}', "'grid' was unexpected"),
        ('heads_node', '{output_depth: 2}', "'output_depth' was unexpected"),
    ],
)
def test_the_schema_refuses(check, key: str, text: str, reason: str):
    with pytest.raises(jsonschema.ValidationError, match=re.escape(reason)):
        check({key: {'ros__parameters': yaml.safe_load(text)}})


def test_the_schema_refuses_a_file_without_ros__parameters(check):
    with pytest.raises(jsonschema.ValidationError, match='ros__parameters'):
        check({'/**': {'grid': {'resolution': 0.2}}})
