# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Lint, format and types, checked where the tools are installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    'command',
    [('ruff', 'check', '.'), ('ruff', 'format', '--check', '.'), ('mypy',)],
    ids=['lint', 'format', 'types'],
)
def test_quality(command: tuple[str, ...]):
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f'{command[0]} is not installed')
    done = subprocess.run(
        [sys.executable, '-m', *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pre_commit_has_the_ruff_of_the_constraints():
    hooks = (ROOT / '.pre-commit-config.yaml').read_text()
    constraints = (ROOT / 'requirements/constraints.txt').read_text()
    hook = re.search(r'ruff-pre-commit\n\s+rev: v(\S+)', hooks)
    pinned = re.search(r'^ruff==(\S+)', constraints, re.MULTILINE)
    assert hook is not None and pinned is not None
    assert hook[1] == pinned[1]
