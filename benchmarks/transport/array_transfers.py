# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Latency of arrays between two processes: plain rclpy, this package and memcpy, in turn."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.transport.senders import ARRAY, LIST, MEMCPY, NDARRAY, RAW
from benchmarks.transport.transport_report import KEPT, OURS
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.node_process import private_graph
from tiny_bev_ros.runtime.process import MALLOC_VARIABLES as ALLOCATOR
from tiny_bev_ros.runtime.shared_memory import VARIABLES as PROFILES

SHAPES: dict[str, tuple[int, ...]] = {
    '2 MB': (1, 64, 90, 90),
    '10 MB': (1, 64, 200, 200),
    '55 MB': (1, 64, 496, 432),
    'pillars': (7000, 64),
}
PLAIN_READER = f'{OURS}, plain reader'
_TURNS = 2
_SLOW_HZ, _HZ, _FAST_HZ = 2.0, 10.0, 30.0
_SHARED = Path('/dev/shm')  # noqa: S108 - Files there are shared memory.


class Peer:
    """Process of `benchmarks.transport.transfer_peer`.

    Args:
        role: send or receive.
        tuned: True to tune the process as the nodes do; False for ROS 2 defaults.
        log: file of its standard error.
    """

    def __init__(self, role: str, tuned: bool, log: Path) -> None:
        own = (*PROFILES, *ALLOCATOR, 'FASTDDS_BUILTIN_TRANSPORTS', 'OMP_WAIT_POLICY')
        environment = {name: value for name, value in os.environ.items() if name not in own}
        if tuned:  # Read when PyTorch is loaded, before the process tunes itself.
            environment['OMP_WAIT_POLICY'] = 'PASSIVE'
        command = [sys.executable, '-m', 'benchmarks.transport.transfer_peer', role]
        self._log = log
        with log.open('wb') as errors:
            self._process = subprocess.Popen(  # noqa: S603 - A module of this package.
                [*command, *(['--tuned'] if tuned else [])],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.answer()

    def request(self, message: object) -> None:
        """Sends a line of JSON to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + '\n')
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Reads the next line of the process.

        Raises:
            TinyBevError: the process has ended or cannot do the job.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise TinyBevError(f'transfer process ended with exit code {code}; see {self._log}')
        message = json.loads(line)
        if 'error' in message:
            raise TinyBevError(message['error'])
        return message

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def jobs(rounds: int) -> list[dict[str, Any]]:
    """Returns the jobs: combinations of size, method, quality of service and rate."""
    result = []
    for size, shape in SHAPES.items():
        for name, reliable, encoding in _variants(size):
            slow = size == '55 MB' or name in (LIST, NDARRAY)
            job = {
                'size': size,
                'shape': shape,
                'name': name,
                'method': OURS if name == PLAIN_READER else name,
                'our_reader': name == OURS,
                'reliable': reliable,
                'encoding': encoding,
                'hz': _SLOW_HZ if slow else _HZ,
                'count': rounds if slow else 3 * rounds,
            }
            result.append(job)
            if size == '10 MB' and name == OURS:
                result.append(job | {'hz': _FAST_HZ, 'count': 12 * rounds})
    return result


def _variants(size: str) -> list[tuple[str, bool, str]]:
    """Returns name, reliability and encoding of each job of a size."""
    if size == 'pillars':
        encodings = ('float32', 'float16')
        return [(OURS, *rest) for rest in itertools.product((True, False), encodings)]
    reliable = [KEPT, RAW, OURS, PLAIN_READER, MEMCPY]
    if size != '55 MB':  # A list of that size takes seconds.
        reliable = [LIST, NDARRAY, ARRAY, *reliable]
    best_effort = [KEPT, OURS, PLAIN_READER]
    return [(name, True, 'float32') for name in reliable] + [
        (name, False, 'float32') for name in best_effort
    ]


def measure_transfers(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Measures all jobs in two turns.

    Args:
        rounds: number of arrays of a slow job; others send more.
        folder: folder of the processes' logs.

    Returns:
        One row per job: its fields, 'ms' of each array received, the number 'sent', and 'cpu_ms'
        of sender and receiver.

    Raises:
        TinyBevError: a process ended, or no receiver was matched.
    """
    rows = [job | {'ms': [], 'sent': 0, 'cpu_ms': [[], []]} for job in jobs(rounds)]
    with ExitStack() as stack:
        stack.enter_context(private_graph())
        peers = {}
        for role, tuned in itertools.product(('send', 'receive'), (True, False)):
            log = folder / f'transport_{role}_{"tuned" if tuned else "as_shipped"}.log'
            peers[role, tuned] = Peer(role, tuned, log)
            stack.callback(peers[role, tuned].close)
        for turn in range(_TURNS):
            for number, row in enumerate(rows):
                row['topic'] = f'bench_{number}_{turn}'
                is_tuned = row['method'] == OURS
                _run(row, peers['send', is_tuned], peers['receive', row['our_reader']], folder)
    return rows


def _run(row: dict[str, Any], sender: Peer, receiver: Peer, folder: Path) -> None:
    job = {key: value for key, value in row.items() if key not in ('ms', 'sent', 'cpu_ms')}
    memory = (_SHARED if _SHARED.is_dir() else folder) / f'tiny_bev_bench_{os.getpid()}'
    pipe = folder / row['topic']
    if row['method'] == MEMCPY:
        os.mkfifo(pipe)
        memory.write_bytes(bytes(4 * int(np.prod(row['shape']))))
        job |= {'pipe': str(pipe), 'memory': str(memory)}
    try:
        receiver.request(job)
        receiver.answer()
        sender.request(job)
        sending = sender.answer()
        receiver.request('stop')
        receiving = receiver.answer()
    finally:
        memory.unlink(missing_ok=True)
        pipe.unlink(missing_ok=True)
    counted = {number: at for number, at in sending['sent'].items() if int(number) >= 0}
    got = receiving['got']
    row['sent'] += len(counted)
    row['ms'] += [(got[number] - at) * 1e3 for number, at in counted.items() if number in got]
    for end, measured in enumerate((sending, receiving)):
        row['cpu_ms'][end].append(measured['cpu_ms'] / len(counted))
