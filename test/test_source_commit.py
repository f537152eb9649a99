# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Commit of the source: that of this repository, and of no other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tiny_bev_ros import source_commit
from tiny_bev_ros.source_commit import commit_of_source


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Repository with one commit; the package is installed in a folder of it."""
    if not (git := shutil.which('git')):
        pytest.skip('there is no git')
    (tmp_path / 'file').touch()
    names = ['-c', 'user.name=x', '-c', 'user.email=x@example.org']
    for words in (['init', '-q'], ['add', 'file'], [*names, 'commit', '-q', '-m', 'First']):
        subprocess.run([git, '-C', str(tmp_path), *words], check=True)
    installed = tmp_path / 'lib/tiny_bev_ros/source_commit.py'
    installed.parent.mkdir(parents=True)
    monkeypatch.setattr(source_commit, '__file__', str(installed))
    return tmp_path


def test_a_repository_of_another_project_has_no_commit_of_the_source(repository: Path):
    assert commit_of_source() == 'unknown'


def test_a_package_that_is_installed_in_its_repository_has_its_commit(repository: Path):
    source = repository / 'tiny_bev_ros/source_commit.py'
    source.parent.mkdir()
    source.touch()
    assert commit_of_source() not in ('unknown', '')
