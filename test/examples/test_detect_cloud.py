# SPDX-License-Identifier: Apache-2.0
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
