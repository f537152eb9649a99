# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rates of extraction beside the bare `Detector`, Ray, and pipeline_node in a process of its own.

A process takes seconds to start. So each contender processes a short and a long list of bags, and
its rate is the difference of the clouds over the difference of the times.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.tables import SPREAD, as_table, spread
from benchmarks.timing import median
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional, one_line

BARE, ONE = 'Detector in a loop', 'extract, 1 worker'
TWO, RAY = 'extract, 2 workers', 'extract, 2 actors of Ray'
NODE = 'pipeline_node, one cloud after the other'
# Number of clouds of a bag, and of bags in the short and the long list. Two workers share either.
_CLOUDS, _SHORT, _LONG = 30, 2, 6
_LOOP = """\
import sys
import torch
from tiny_bev_ros import Detector, read_bag
torch.set_num_threads(1)
detector = Detector('street', (-51.2, 51.2), (-51.2, 51.2))
for path in sys.argv[1:]:
    detector.reset_mounting()
    for frame in read_bag(path):
        detector(frame.points)
"""
_TEXT = """\
Shipped weights, all around, detections as Parquet, one computing thread per worker. Contenders ran
in turn. {clouds} clouds of simulated streets (hdl64) count in each run, without the start of its
processes.
"""


def measure_extraction(rounds: int, folder: Path) -> dict[str, Any]:
    """Measures the clouds a second of each contender.

    Args:
        rounds: number of runs of each contender.
        folder: new folder for bags, outputs and logs.

    Returns:
        'clouds' of each run, 'rates' by contender, clouds a second, and 'left_out', lines with
        the reasons for missing contenders.
    """
    street_bag, reason = import_optional('tiny_bev_ros.bag.street_bag')  # needs rclpy
    if reason:
        return {'clouds': 0, 'rates': {}, 'left_out': [f'Extraction is left out: {reason}']}
    bags = [folder / f'street_{number}' for number in range(_LONG)]
    for number, bag in enumerate(bags):
        street_bag.make_street_bag(bag, _CLOUDS, seed=number)
    contenders, left_out = _contenders(folder)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            if name not in rates:
                continue
            try:
                seconds = _seconds(run, bags) - _seconds(run, bags[:_SHORT])
                rates[name].append(_CLOUDS * (_LONG - _SHORT) / seconds)
            except (LookupError, OSError, TinyBevError) as error:
                del rates[name]
                left_out.append(f'{name} is left out: {one_line(error)}')
    return {'clouds': _CLOUDS * (_LONG - _SHORT), 'rates': rates, 'left_out': left_out}


def extraction_table(result: dict[str, Any]) -> str:
    """Renders the result of `measure_extraction`."""
    first = median(result['rates'][BARE]) if BARE in result['rates'] else None
    rows = []
    for name, rates in result['rates'].items():
        ratio = f'{median(rates) / first:.2f}' if first else ''
        rows.append([name, *spread(rates, '.2f'), ratio])
    table = as_table(['', 'clouds a second, median', SPREAD, f'relative to {BARE}'], rows)
    text = _TEXT.format(clouds=result['clouds'])
    return '\n\n'.join([text.strip(), table, *[f'- {line}' for line in result['left_out']]])


def _contenders(folder: Path) -> tuple[dict[str, Callable[[list[Path]], None]], list[str]]:
    """Returns functions that process bags, by contender, and the reasons for missing ones."""
    left_out = []

    def loop(bags: list[Path]) -> None:
        _run([sys.executable, '-c', _LOOP, *map(str, bags)])

    def extract(*options: str) -> Callable[[list[Path]], None]:
        def run(bags: list[Path]) -> None:
            program = [sys.executable, '-m', 'tiny_bev_ros.extraction.extract', *map(str, bags)]
            with TemporaryDirectory(dir=folder) as output:  # as finished runs are not repeated
                _run([*program, '--output', output, '--grid', 'around', *options])

        return run

    contenders = {BARE: loop, ONE: extract('--workers', '1'), TWO: extract('--workers', '2')}
    if reason := import_optional('ray').reason:
        left_out.append(f'{RAY} is left out: {reason}')
    else:
        contenders[RAY] = extract('--workers', '2', '--executor', 'ray')
    node, reason = import_optional('benchmarks.extraction.node_replay')
    if reason:
        left_out.append(f'{NODE} is left out: {reason}')
    else:
        contenders[NODE] = lambda bags: node.replay(bags, folder)
    return contenders, left_out


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - own programs
        command, check=False, capture_output=True, text=True
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise TinyBevError(
            f'exit code of {" ".join(command[1:4])} is {done.returncode} '
            f'({lines[-1] if lines else "no output"}); expected 0'
        )


def _seconds(run: Callable[[list[Path]], None], bags: list[Path]) -> float:
    began = time.perf_counter()
    run(bags)
    return time.perf_counter() - began
