# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs a node for minutes under good and bad input, and checks that nothing grows.

Beside a steady stream of good clouds it gets faulty and unusual ones, changes of parameters and
weights, and its publisher and subscriber are replaced.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import torch
from fault_mutations import mutated
from fault_processes import set_parameter
from fault_rig import Rig, cloud, now

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.models import build_backbone, seeded
from tiny_bev_ros.runtime.node_process import private_graph

_HZ = 20.0
_DISTURB_S = 5.0
_SAMPLE_S = 5.0
_WARM_S = 120.0
# Time in which each kind of disturbance comes in both of its forms.
_CYCLE_S = 60.0
_MAX_GROWTH = 0.02
_MAX_SLOWDOWN = 1.5


def disturb(rig: Rig, number: int, random: np.random.Generator, weights: Path) -> None:
    """Makes one of six disturbances, in turn."""
    kind = number % 6
    if kind == 0:
        for _ in range(20):
            message = encode_cloud(cloud(number, 50), now(), 'lidar')
            rig.send(mutated(message, random), may_answer=True)
            rig.spin_for(0.01)
    elif kind == 1:
        message = encode_cloud(np.full((50, 4), np.nan, np.float32), now(), 'lidar')
        rig.send(message, may_answer=True)
    elif kind == 2:
        set_parameter(rig, 'backbone.sparsity', 'always' if number % 4 else 'auto')
    elif kind == 3:
        rig.replace_publisher(reliable=number % 4 == 1)
    elif kind == 4:
        rig.replace_subscriber('best_effort' if number % 4 else 'reliable')
    else:
        set_parameter(rig, 'backbone.checkpoint', str(weights))


def resident_mb(pid: int) -> float:
    """Returns the resident memory of a process, in MiB."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith('VmRSS:')]
    return int(kilobytes) / 1024


def typical_mb(memory: list[tuple[float, float]], begin: float) -> float:
    """Returns the median memory over a round of all disturbances, as some need more than others.

    A shorter run is measured from its last sample before ``begin`` on.
    """
    begin = min(begin, memory[-1][0])
    return float(np.median([mb for at, mb in memory if begin <= at <= begin + _CYCLE_S]))


def run(rig: Rig, minutes: float) -> tuple[list[tuple[float, float]], float]:
    """Soaks a node; returns its memory by time, and the time at which measuring began."""
    weights = rig.folder / 'weights.pt'
    with seeded(0):
        torch.save(build_backbone('tiny').state_dict(), weights)
    rig.start({'backbone.checkpoint': str(weights)})
    assert rig.process is not None
    memory: list[tuple[float, float]] = []
    random, numbers = np.random.default_rng(0), itertools.count()
    begin = time.monotonic()
    rig.ages.clear()
    next_sample = next_disturbance = begin
    while (at := time.monotonic()) < begin + minutes * 60:
        rig.send_good()
        if at >= next_sample:
            next_sample += _SAMPLE_S
            memory.append((at - begin, resident_mb(rig.process.pid)))
        if at >= next_disturbance:
            next_disturbance += _DISTURB_S
            disturb(rig, next(numbers), random, weights)
        rig.spin_for(max(0.0, at + 1 / _HZ - time.monotonic()))
    rig.spin_for(1.0)
    return memory, begin


def report(rig: Rig, memory: list[tuple[float, float]], begin: float) -> bool:
    """Prints the results; returns whether all of them are as required."""
    counts = rig.counts()
    received = counts.pop('received')
    warm = typical_mb(memory, _WARM_S)
    end = typical_mb(memory, memory[-1][0] - _CYCLE_S)
    growth = end / warm - 1
    print(
        f'received {received} = ' + ' + '.join(f'{n} {cause}' for cause, n in counts.items() if n)
    )
    print(
        f'resident memory, median of a minute: {warm:.1f} MiB after {_WARM_S:.0f} s, '
        f'{end:.1f} at the end ({growth:+.2%}), maximum {max(mb for _, mb in memory):.1f}'
    )
    every = max(1, len(memory) // 16)
    print('over time: ' + ', '.join(f'{at:.0f} s {mb:.0f}' for at, mb in memory[::every]))
    thirds = np.array_split(np.array([age for at, age in rig.ages if at >= begin]) * 1e3, 3)
    tails = []
    for name, ages in zip(('first', 'second', 'last'), thirds, strict=True):
        median, tail, most = np.percentile(ages, [50, 95, 99])
        tails.append(tail)
        print(f'age of features, {name} third: {median:.1f} ms, 95 % {tail:.1f}, 99 % {most:.1f}')
    faults = list(dict.fromkeys(rig.problems))
    if received != sum(counts.values()):
        faults.append('not every input is accounted for')
    if growth > _MAX_GROWTH:
        faults.append(f'memory grew by more than {_MAX_GROWTH:.0%}')
    if tails[2] > tails[0] * _MAX_SLOWDOWN:
        faults.append('the node became slower')
    print(
        'FAILED: ' + '; '.join(faults) if faults else 'nothing grew, every input is accounted for'
    )
    return not faults


def main() -> None:
    """Runs the program; exits with 1 where anything grew or was wrong."""
    parser = argparse.ArgumentParser(prog='soak', description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=5.0, help='duration in minutes')
    parser.add_argument('--output', default='build/soak', help='folder of logs')
    options = parser.parse_args()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    with private_graph() as context:
        rig = Rig(context, folder)
        try:
            memory, begin = run(rig, options.minutes)
            passed = report(rig, memory, begin)
        finally:
            rig.close()
    sys.exit(not passed)


if __name__ == '__main__':
    main()
