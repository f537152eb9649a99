# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs code in a process in which packages are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Patterns of names of packages.
RCLPY = 'rclpy|rcl_interfaces'
MESSAGES = r'\w+_(msgs|interfaces)|sensor_msgs_py|cv_bridge'
_FINDER = """
import re
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if re.fullmatch({pattern!r}, name.partition('.')[0]):
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Absent())
"""


def run_without(pattern: str, code: str) -> str:
    """Runs Python code in a process without packages; returns its output.

    Args:
        pattern: regular expression for the names of missing packages.
        code: Python code, which must not fail.
    """
    done = subprocess.run(
        [sys.executable, '-c', _FINDER.format(pattern=pattern) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
