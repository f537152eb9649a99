# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests that need a CUDA device, run by pytest in a process of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.check_section import CheckSettings, SectionResult

# Less than the limit of the section, which would end this process but not pytest.
_LIMIT_S = 170.0
_ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, '-m', 'pytest', '-m', 'gpu', '-q', '-ra', '-p', 'no:cacheprovider']


def run_marked_tests(settings: CheckSettings) -> SectionResult:
    """Runs all tests marked gpu; each that fails is a failure of the section."""
    done = subprocess.run(  # noqa: S603 - pytest with our own arguments
        COMMAND,
        cwd=_ROOT,
        env=os.environ | {'COLUMNS': '200'},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    return summary_of(done.returncode, done.stdout, done.stderr)


def summary_of(code: int, output: str, errors: str = '') -> SectionResult:
    """Reads the end of pytest's output.

    Args:
        code: exit code of pytest.
        output: standard output of pytest -q -ra.
        errors: standard error.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    result = SectionResult(failures=[line for line in lines if re.match(r'(FAILED|ERROR) ', line)])
    last = lines[-1] if lines else (errors.strip().splitlines() or ['no output'])[-1]
    if code and not result.failures:
        result.failures.append(f'pytest ended with exit code {code}: {last}')
    elif not code and not re.search(r'\d+ passed', last):
        result.failures.append(f'no test passed: {last}')
    skipped = [f'- {line}' for line in lines if line.startswith('SKIPPED')]
    result.text = '\n'.join([f'`pytest -m gpu`: {last}', '', *skipped])
    return result
