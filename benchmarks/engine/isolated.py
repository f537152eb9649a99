# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Measurement of one contender in a fresh process: peak memory, times by allocator setting.

Run as a module, this file is that process and prints JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engine.benchmark_inputs import backbone
from benchmarks.engine.contenders import builders
from benchmarks.engine.detectors import detectors
from benchmarks.peak_memory import memory_mb
from benchmarks.timing import interleaved, median
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.process import configure_malloc

_LIMIT_S = 180.0


def run_isolated(
    contender: str,
    input_file: Path,
    models: Path,
    *,
    threads: int,
    rounds: int = 0,
    tuned: bool = True,
    map_name: str = '',
) -> dict[str, Any]:
    """Measures one contender in a process of its own.

    Args:
        contender: name of a contender, a key of `benchmarks.engine.contenders.builders`; with a
            map, of `benchmarks.engine.detectors.detectors`.
        input_file: .npy file with a pseudo-image (1,64,H,W) float32; with a map, with points
            (N,4) float32.
        models: folder with the exported networks.
        threads: number of threads of the contender.
        rounds: number of timed runs.
        tuned: True if the allocator keeps large blocks; False for its default.
        map_name: name of the map of a detector; '' for a backbone.

    Returns:
        'peak_mb', memory growth while the contender was built and ran once; 'ms' of the rounds.

    Raises:
        TinyBevError: the process failed; the message ends with its last line.
    """
    command = [sys.executable, '-m', __name__, contender, str(input_file), str(models)]
    command += ['--threads', str(threads), '--rounds', str(rounds), '--map', map_name]
    if tuned:
        command.append('--tuned')
    try:
        done = subprocess.run(  # noqa: S603 - this very module
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TinyBevError(
            f'{contender} took more than {_LIMIT_S:g} s in its own process'
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else 'no output'
        raise TinyBevError(f'{contender} failed in its own process: {reason}')
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory(
    names: list[str], input_file: Path, models: Path, threads: int, map_name: str = ''
) -> tuple[dict[str, float], list[str]]:
    """Measures peak memory in MB by contender; returns also a line about each failure.

    Arguments are those of `run_isolated`.
    """
    peaks, left_out = {}, []
    for name in names:
        try:
            measured = run_isolated(name, input_file, models, threads=threads, map_name=map_name)
            peaks[name] = measured['peak_mb']
        except TinyBevError as error:
            where = f', {map_name}' if map_name else ''
            left_out.append(f'Peak memory of {name}{where} is left out: {error}')
    return peaks, left_out


def untuned_eager(image: Path, models: Path, threads: int, rounds: int) -> dict[str, list[float]]:
    """Times the eager network with the default and the tuned allocator in turn, in ms."""
    times: dict[str, list[float]] = {'untuned': [], 'tuned': []}
    for name in ['untuned', 'tuned'] * 2:
        tuned = name == 'tuned'
        measured = run_isolated(
            'eager', image, models, threads=threads, rounds=rounds, tuned=tuned
        )
        times[name] += measured['ms']
    return times


def untuned_sentence(times: dict[str, list[float]]) -> str:
    """Renders the result of `untuned_eager` as a sentence."""
    untuned, tuned = median(times['untuned']), median(times['tuned'])
    return (
        f'eager, allocator untuned: {untuned:.1f} ms '
        f'({min(times["untuned"]):.1f}..{max(times["untuned"]):.1f}), '
        f'{untuned / tuned:.2f} times the {tuned:.1f} ms of tuned eager'
    )


@torch.inference_mode()
def main() -> None:
    """Entry point of the measuring process."""
    parser = argparse.ArgumentParser()
    parser.add_argument('contender')
    parser.add_argument('input_file', type=Path)
    parser.add_argument('models', type=Path)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--rounds', type=int)
    parser.add_argument('--map', default='')
    parser.add_argument('--tuned', action='store_true')
    options = parser.parse_args()
    if options.tuned:
        configure_malloc()
    torch.set_num_threads(options.threads)
    example: Any = np.load(options.input_file)
    makers: dict[str, Callable[[], Callable[[Any], Any]]]
    if options.map:
        makers = detectors(options.map, options.threads, options.models)
    else:
        example = torch.from_numpy(example)
        makers = builders(backbone(), example.shape[2:], options.threads, options.models)
    before = memory_mb('VmRSS')
    run = makers[options.contender]()
    run(example)
    peak = memory_mb('VmHWM') - before
    times = interleaved({'': partial(run, example)}, options.rounds)['']
    print(json.dumps({'peak_mb': peak, 'ms': times}))


if __name__ == '__main__':
    main()
