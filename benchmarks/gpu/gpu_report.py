# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Markdown report of the GPU check."""

from __future__ import annotations

import datetime
import platform
import subprocess
from typing import Any

import torch

from benchmarks.gpu.check_section import CheckSettings, SectionResult
from benchmarks.gpu.cudnn_peers import CUDNN_GRAPH, TENSORRT
from benchmarks.gpu.stage_times import FRAME
from benchmarks.machine import processor
from benchmarks.tables import as_table
from tiny_bev_ros.optional_imports import import_optional

# Columns of the summary row after those of the machine; figures of the sections.
FIGURES = (
    'pillars', 'backbone, dense', 'backbone, sparse', 'heads', FRAME, CUDNN_GRAPH, TENSORRT,
)  # fmt: skip
_NONE = '-'


def machine_of(device: torch.device) -> dict[str, str]:
    """Describes GPU, driver, libraries and CPU."""
    properties: Any = torch.cuda.get_device_properties(device)
    triton = import_optional('triton')
    return {
        'GPU': f'{properties.name}, {properties.total_memory / 2**30:.1f} GiB, compute capability '
        f'{properties.major}.{properties.minor}',
        'driver': _driver(),
        'CUDA': str(torch.version.cuda),
        'cuDNN': str(torch.backends.cudnn.version()),
        'PyTorch': torch.__version__,
        'Triton': triton.reason or str(triton.module.__version__),
        'CPU': processor(),
        'Python': platform.python_version(),
        'date': datetime.date.today().isoformat(),
    }


def markdown(
    machine: dict[str, str], settings: CheckSettings, results: dict[str, SectionResult]
) -> str:
    """Renders outcomes, failures, the summary row and the text of each section."""
    parts = ['# GPU check', as_table(['', ''], [list(each) for each in machine.items()])]
    outcomes = [
        [name, each.outcome, f'{each.seconds:.0f}', each.skipped or _first(each.failures)]
        for name, each in results.items()
    ]
    parts.append(as_table(['section', 'outcome', 's', 'reason'], outcomes))
    parts += [
        '## Row for docs/benchmarks.md',
        'Shipped weights in float16, backbones beside their path; peers: network tiny in float16. '
        'Milliseconds, p50 / p95:',
        summary(machine, settings, results),
    ]
    for name, result in results.items():
        parts += [f'## {name}', *[f'- FAILED: {line}' for line in result.failures]]
        if result.skipped:
            parts.append(f'skipped: {result.skipped}')
        parts.append(result.text)
    return '\n\n'.join(part.strip() for part in parts if part.strip()) + '\n'


def summary(
    machine: dict[str, str], settings: CheckSettings, results: dict[str, SectionResult]
) -> str:
    """Renders a table of one row: machine, grid and the times of a frame."""
    figures: dict[str, str] = {}
    for result in results.values():
        figures |= result.figures
    head = ['GPU', 'driver', 'CUDA', 'PyTorch', 'cells', *FIGURES]
    row = [
        machine['GPU'].partition(',')[0],
        *(machine[key] for key in ('driver', 'CUDA', 'PyTorch')),
        ' x '.join(map(str, settings.grid.shape)),
        *(figures.get(name, _NONE) for name in FIGURES),
    ]
    return as_table(head, [row])


def _first(failures: list[str]) -> str:
    more = f' (and {len(failures) - 1} more)' if len(failures) > 1 else ''
    return failures[0] + more if failures else ''


def _driver() -> str:
    """Returns the version of the driver of the first GPU, as nvidia-smi reports it."""
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.split()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return 'unknown'
