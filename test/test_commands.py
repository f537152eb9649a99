# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Programs start, and name a package that they need and cannot import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tiny_bev_ros import commands

ROOT = Path(__file__).resolve().parents[1]
SETUP = (ROOT / 'setup.py').read_text()
NAMES = re.findall(r"'(\w+) = tiny_bev_ros\.commands:\1'", SETUP)


@pytest.mark.parametrize('name', NAMES)
def test_each_executable_runs_the_main_of_its_module(name: str, monkeypatch: pytest.MonkeyPatch):
    imported = []

    def take(module: str) -> SimpleNamespace:
        imported.append(module)
        return SimpleNamespace(main=lambda: 3)

    monkeypatch.setattr(commands, 'import_module', take)
    with pytest.raises(SystemExit) as ended:
        getattr(commands, name)()
    assert ended.value.code == 3
    (module,) = imported
    assert '\ndef main(' in (ROOT / f'{module.replace(".", "/")}.py').read_text()


def test_all_tools_start_so():
    assert NAMES
    assert len(NAMES) == SETUP.count('tiny_bev_ros.commands')


@pytest.mark.parametrize(
    ('tool', 'package', 'fault', 'line'),
    [
        (
            'bag_player',
            'tqdm',
            "raise RuntimeError('of\\nanother age')",
            'bag_player: tqdm cannot be used (RuntimeError: of); expected it to work: '
            'pip install --upgrade tqdm',
        ),
        (
            'bag_player',
            'rosbags',
            '',
            'bag_player: rosbags.interfaces cannot be used (ModuleNotFoundError: No module named '
            "'rosbags.interfaces'); expected it to work: pip install --upgrade rosbags",
        ),
        (
            'demo',
            'matplotlib',
            "raise ImportError('numpy.core.multiarray failed to import')",
            'demo: matplotlib.axes cannot be used (ImportError: numpy.core.multiarray failed '
            'to import); expected it to work: pip install --upgrade matplotlib',
        ),
    ],
)
def test_a_package_that_cannot_be_used_ends_a_tool_in_one_line(
    tmp_path: Path, tool: str, package: str, fault: str, line: str
):
    (tmp_path / package).mkdir()
    (tmp_path / package / '__init__.py').write_text(fault)
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        f'from tiny_bev_ros.commands import {tool}; {tool}()'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stderr) == (1, f'{line}\n')


def test_a_fault_of_our_own_is_no_fault_of_a_package(monkeypatch: pytest.MonkeyPatch):
    def fail(name: str) -> None:
        raise LookupError(name)

    monkeypatch.setattr(commands, 'import_module', fail)
    with pytest.raises(LookupError):
        commands.run('demo', 'demo.cloud_demo')
