# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Layers of the package: each imports only those below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'tiny_bev_ros'
ROS = (
    'ament_index_python',
    'builtin_interfaces',
    'cv_bridge',
    'diagnostic_msgs',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'nav_msgs',
    'rcl_interfaces',
    'rclpy',
    'ros2cli',
    'rosbag2_py',
    'rosbags',
    'rosgraph_msgs',
    'sensor_msgs',
    'sensor_msgs_py',
    'std_msgs',
    'tf2_ros',
    'vision_msgs',
    'visualization_msgs',
)
ABOVE_MODELS = tuple(
    f'tiny_bev_ros.{name}'
    for name in ('messages', 'inference', 'sim', 'training', 'export', 'detector')
)
PROGRAMS = tuple(
    f'tiny_bev_ros.{name}'
    for name in ('nodes', 'bag', 'demo', 'extraction', 'commands', 'launch_utils', 'launch_values')
)
TOP = (
    *PROGRAMS,
    'tiny_bev_ros.runtime',
    'tiny_bev_ros.client',
    'benchmarks',
    'experiments',
)
INFERENCE = 'tiny_bev_ros.inference'
# Modules that the files below a path must not import.
RULES = {
    'grid.py': (*ROS, 'torch', 'tiny_bev_ros.models', *ABOVE_MODELS, *TOP),
    'resources.py': (*ROS, 'torch', 'tiny_bev_ros.models', *ABOVE_MODELS, *TOP),
    'file_digest.py': (*ROS, 'torch', 'tiny_bev_ros.models', *ABOVE_MODELS, *TOP),
    'errors.py': (*ROS, 'torch', 'tiny_bev_ros.models', *ABOVE_MODELS, *TOP),
    'program_exit.py': (*ROS, 'torch', 'tiny_bev_ros.models', *ABOVE_MODELS, *TOP),
    'models': (*ROS, *ABOVE_MODELS, *TOP),
    'messages': ('rclpy', 'launch', 'launch_ros', *TOP),
    'inference': ('rclpy', 'launch', 'launch_ros', *TOP),
    'detector.py': (*ROS, 'tiny_bev_ros.messages', *TOP),
    'detector_result.py': (*ROS, 'tiny_bev_ros.messages', 'tiny_bev_ros.detector', *TOP),
    'sim': (*ROS, 'torch', 'tiny_bev_ros.models', 'tiny_bev_ros.messages', *TOP),
    'training': (*ROS, 'tiny_bev_ros.messages', *TOP),
    'export': (*ROS, 'tiny_bev_ros.messages', 'tiny_bev_ros.training', *TOP),
    'runtime': (
        'launch',
        'launch_ros',
        'tiny_bev_ros.client',
        'tiny_bev_ros.inference',
        *PROGRAMS,
    ),
    'client.py': ('launch', 'launch_ros', INFERENCE, *PROGRAMS),
    'extraction': ('rclpy', 'launch', 'launch_ros', 'tiny_bev_ros.demo'),
    '': ('benchmarks', 'experiments'),
}


def imports(source: str, module: str) -> set[str]:
    """Returns the full names of all modules that a file imports, wherever in it.

    ``module`` is the file's own, for relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parent = module.split('.')[: -node.level]
                base = '.'.join([*parent, *([base] if base else [])])
            found |= {base} | {f'{base}.{alias.name}' for alias in node.names}
    return found


def forbidden(names: set[str], rule: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(f'{name}.'.startswith(f'{r}.') for r in rule))


def module_of(path: Path) -> str:
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts)


@pytest.mark.parametrize('layer', RULES)
def test_a_layer_knows_only_those_below(layer):
    files = [PACKAGE / layer] if layer.endswith('.py') else (PACKAGE / layer).rglob('*.py')
    checked = 0
    for path in files:
        names = imports(path.read_text(encoding='utf-8'), module_of(path))
        wrong = forbidden(names, RULES[layer])
        assert not wrong, f'{path.relative_to(ROOT)} imports {", ".join(wrong)}'
        checked += 1
    assert checked, f'no files in {layer}'


@pytest.mark.parametrize(
    'line',
    [
        'import rclpy',
        'import rclpy.node as n',
        'from rclpy.node import Node',
        'from tiny_bev_ros import nodes',
        'from tiny_bev_ros.nodes.model_factory import x',
        'from .. import nodes',
        'from ..nodes import base',
        'def f():\n    import rclpy',
    ],
)
def test_a_forbidden_import_is_found(line):
    assert forbidden(imports(line, 'tiny_bev_ros.models.registry'), RULES['models'])


@pytest.mark.parametrize('line', ['from . import registry', 'import rclpyx', 'import torch'])
def test_an_allowed_import_is_not(line):
    assert not forbidden(imports(line, 'tiny_bev_ros.models.__init__'), RULES['models'])


def test_the_models_import_where_there_is_no_ros():
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        root = name.partition('.')[0]
        if root in {ROS!r} or root.endswith('_msgs'):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
before = set(sys.modules)
from tiny_bev_ros.models import build_backbone
build_backbone('tiny')
new = {{name.partition('.')[0] for name in set(sys.modules) - before}}
assert not new & set({ROS!r}), new
"""
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
