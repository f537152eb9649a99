# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""examples/detect_cloud.py on a simulated street and on a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('from_file', [False, True])
def test_objects_are_printed(tmp_path: Path, from_file: bool):
    arguments = []
    if from_file:
        np.zeros((100, 4), np.float32).tofile(tmp_path / 'cloud.bin')
        arguments = [str(tmp_path / 'cloud.bin')]
    done = subprocess.run(
        [sys.executable, str(ROOT / 'examples/detect_cloud.py'), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *objects, last = done.stdout.splitlines()
    assert last.startswith(f'{len(objects)} objects in ')
    if not from_file:
        assert any(line.startswith('vehicle') for line in objects)
