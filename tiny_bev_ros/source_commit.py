# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Commit of the source, for files that name their origin."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def commit_of_source() -> str:
    """Returns the commit of the source, 'dirty' after local changes, 'unknown' without git.

    A repository of another project, in which the package is installed, does not count.
    """
    if not (git := shutil.which('git')):
        return 'unknown'
    here = Path(__file__).parent
    try:
        root = Path(_output_of(git, '-C', str(here), 'rev-parse', '--show-toplevel'))
        if not (root / here.name / Path(__file__).name).exists():
            return 'unknown'
        return _output_of(git, '-C', str(root), 'describe', '--always', '--dirty')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _output_of(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()
