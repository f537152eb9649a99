# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rules of the repository's files: unique names, short files, one licence header."""

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


def test_every_file_has_the_licence_header():
    """Compares with the header of this file, which ament_copyright accepts."""
    header = Path(__file__).read_text(encoding='utf-8').partition('"""')[0]
    assert 'Licensed under the Apache License' in header
    without = [
        str(path.relative_to(ROOT))
        for path in (ROOT / 'setup.py', *(p for f in FOLDERS for p in (ROOT / f).rglob('*.py')))
        if header not in path.read_text(encoding='utf-8')
    ]
    assert not without
