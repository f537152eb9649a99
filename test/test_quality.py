# SPDX-License-Identifier: Apache-2.0
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
