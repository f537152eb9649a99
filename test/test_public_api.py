# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Public names of the package: they resolve, are listed, and cost nothing until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_bev_ros

INIT = Path(tiny_bev_ros.__file__)


@pytest.mark.parametrize('name', tiny_bev_ros.__all__)
def test_a_public_name_resolves_and_is_documented(name: str):
    value = getattr(tiny_bev_ros, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(tiny_bev_ros)


def test_type_checkers_see_the_same_names_from_the_same_modules():
    block = next(node for node in ast.parse(INIT.read_text()).body if isinstance(node, ast.If))
    seen = {
        alias.name: str(each.module)
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    modules = {name: f'tiny_bev_ros.{each}' for name, each in tiny_bev_ros._MODULES.items()}
    assert seen == modules
    assert sorted(seen) == sorted(tiny_bev_ros.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tiny_bev_ros' has no attribute 'Detectors'"):
        _ = tiny_bev_ros.Detectors


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = run("""
import sys
import tiny_bev_ros
dir(tiny_bev_ros), tiny_bev_ros.__version__
print({'torch', 'numpy', 'rclpy', 'numba'} & set(sys.modules))
from tiny_bev_ros import BevGrid, TinyBevError
print({'torch', 'rclpy', 'numba'} & set(sys.modules))
""")
    assert heavy.split() == ['set()', 'set()']


def test_a_detector_needs_numpy_and_torch_alone():
    """Other packages that are installed here are hidden."""
    found = run("""
import sys

HIDDEN = {'rclpy', 'ament_index_python', 'numba', 'llvmlite', 'safetensors', 'yaml', 'tqdm',
          'matplotlib', 'rosbags', 'launch', 'sensor_msgs', 'std_msgs', 'timm'}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in HIDDEN:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Finder())
import numpy as np
from tiny_bev_ros import Detector
detector = Detector('street', (0.0, 12.8), (-6.4, 6.4))
result = detector(np.zeros((5, 3)))
print(result.drivable.shape, HIDDEN & set(sys.modules))
""")
    assert found.strip() == '(32, 32) set()'
