# SPDX-License-Identifier: Apache-2.0
"""Rules of the repository's files: unique names of modules, and short files in the package."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Folders with Python modules; others may hold builds and environments.
FOLDERS = ('tiny_bev_ros', 'benchmarks', 'examples', 'experiments', 'launch', 'scripts', 'test')
MAX_LINES = 300


def test_no_two_modules_share_a_name():
    by_name = defaultdict(list)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob('*.py'):
            if path.name not in ('__init__.py', 'conftest.py'):
                by_name[path.name].append(str(path.relative_to(ROOT)))
    shared = {name: sorted(paths) for name, paths in by_name.items() if len(paths) > 1}
    assert not shared


def test_files_of_the_package_are_short():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding='utf-8').splitlines())
        for path in (ROOT / 'tiny_bev_ros').rglob('*.py')
    }
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}
