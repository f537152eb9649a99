# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Checks and times the package on an NVIDIA GPU; writes gpu_report.md.

Exit code: 0 if every section passed or was skipped, 1 if one failed, 2 without a CUDA device.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.backbone_parity import check_backbones
from benchmarks.gpu.check_inputs import GRID, simulated_clouds
from benchmarks.gpu.check_section import (
    CheckSettings,
    Execute,
    Section,
    SectionResult,
    run_in_child,
)
from benchmarks.gpu.cudnn_peers import compare_peers
from benchmarks.gpu.frame_waits import check_waits
from benchmarks.gpu.gpu_report import machine_of, markdown
from benchmarks.gpu.marked_tests import run_marked_tests
from benchmarks.gpu.memory_limit import check_memory
from benchmarks.gpu.node_check import check_node
from benchmarks.gpu.stage_parity import check_stages
from benchmarks.gpu.stage_times import measure_stages
from tiny_bev_ros.models.device import cuda_unavailable_reason, resolve_device

# Sections in the order of the report, with the seconds after which one is ended.
SECTIONS: dict[str, tuple[Section, float]] = {
    'tests': (run_marked_tests, 180.0),
    'parity of backbones': (check_backbones, 180.0),
    'parity of other stages': (check_stages, 120.0),
    'times of stages': (measure_stages, 120.0),
    'waits in a frame': (check_waits, 90.0),
    'memory limit': (check_memory, 90.0),
    'node': (check_node, 240.0),
    'peers': (compare_peers, 150.0),
}


def run_sections(settings: CheckSettings, execute: Execute) -> dict[str, SectionResult]:
    """Runs all sections, one after the other, and prints a line for each."""
    results = {}
    for name, (section, limit_s) in SECTIONS.items():
        print(f'{name}: ...', flush=True)
        result = results[name] = execute(section, settings, limit_s)
        print(f'{name}: {result.outcome} ({result.seconds:.0f} s)', flush=True)
        for line in result.failures or filter(None, [result.skipped]):
            print(f'  {line}', flush=True)
    return results


def check(settings: CheckSettings, report: Path, execute: Execute) -> int:
    """Runs all sections and writes the report.

    Args:
        settings: sizes of the check.
        report: file of the report.
        execute: runs one section, such as `run_in_child`.

    Returns:
        Exit code: 0, or 1 where a section failed.
    """
    machine = machine_of(settings.device)
    results = run_sections(settings, execute)
    report.write_text(markdown(machine, settings, results), encoding='utf-8')
    print(f'written: {report}')
    return int(any(result.failures for result in results.values()))


def main() -> int:
    """Command line of `python -m benchmarks.gpu.gpu_check`."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.gpu.gpu_check', description=__doc__.splitlines()[0]
    )
    parser.add_argument('--output', default='gpu_report.md', help='file of the report')
    parser.add_argument('--frames', type=int, default=50, help='timed frames (default: 50)')
    options = parser.parse_args()
    reason = cuda_unavailable_reason()
    if reason:
        print(f'gpu-check needs a CUDA device: {reason}', file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        settings = CheckSettings(
            resolve_device('cuda'), simulated_clouds(), GRID, Path(scratch), options.frames
        )
        return check(settings, Path(options.output), run_in_child)


if __name__ == '__main__':
    sys.exit(main())
