# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sending or receiving process of the array transfers.

Run as a module, this file reads jobs from its standard input, one line of JSON each, and answers
with lines of JSON. A sender reports the time at which it sent each array, a receiver the time at
which each was usable, by the monotonic clock of the machine.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor

from benchmarks.transport.senders import MEMCPY, receive_memcpy, sender, subscribe
from tiny_bev_ros.runtime.process import tune_process

# Arrays that are sent first and not counted, while buffers are allocated and topics matched.
WARM_UP = 2
_MATCH_S = 20.0
_SETTLE_S = 0.5


def send(job: dict[str, Any]) -> dict[str, Any]:
    """Sends the arrays of a job at its rate; returns the time of each, and CPU time in ms."""
    node = rclpy.create_node('bench_sender')
    try:
        end = sender(node, job)
        limit = time.monotonic() + _MATCH_S
        while not end.has_subscribers:
            if time.monotonic() > limit:
                return {'error': f'{job["method"]}: no receiver after {_MATCH_S:g} s'}
            time.sleep(0.02)
        time.sleep(_SETTLE_S)  # The receiver is matched at about the same time.
        values = np.random.default_rng(0).random(int(np.prod(job['shape'])), np.float32)
        sent: dict[int, float] = {}
        cpu, start = 0.0, time.monotonic()
        for turn, number in enumerate(range(-WARM_UP, job['count'])):
            time.sleep(max(start + turn / job['hz'] - time.monotonic(), 0.0))
            if number == 0:
                cpu = time.process_time()
            values[0] = number
            sent[number] = time.monotonic()
            end.send(values)
        time.sleep(_SETTLE_S)
        cpu = time.process_time() - cpu
    finally:
        node.destroy_node()
    return {'sent': sent, 'cpu_ms': cpu * 1e3}


def receive(job: dict[str, Any]) -> dict[str, Any]:
    """Receives until the next line of input; returns times of arrays, and CPU time in ms."""
    got: dict[int, float] = {}
    cpu = time.process_time()

    def arrived(number: int) -> None:
        nonlocal cpu
        got[number] = time.monotonic()
        if number < 0:
            cpu = time.process_time()

    if job['method'] == MEMCPY:
        files = Path(job['memory']), Path(job['pipe'])
        thread = threading.Thread(target=receive_memcpy, args=(*files, arrived))
        thread.start()
        answer({'ready': True})
        sys.stdin.readline()
        thread.join()
    else:
        node = rclpy.create_node('bench_receiver')
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            subscription = subscribe(node, job, arrived)
            answer({'ready': True})
            while not select.select([sys.stdin], [], [], 0)[0]:
                executor.spin_once(timeout_sec=0.1)
            sys.stdin.readline()
            del subscription
        finally:
            executor.remove_node(node)
            node.destroy_node()
    return {'got': got, 'cpu_ms': (time.process_time() - cpu) * 1e3}


def answer(message: dict[str, Any]) -> None:
    """Writes a line for the process that sent the job."""
    print(json.dumps(message), flush=True)


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument('role', choices=['send', 'receive'])
    parser.add_argument('--tuned', action='store_true')
    options = parser.parse_args()
    if options.tuned:
        tune_process()
    work = {'send': send, 'receive': receive}[options.role]
    rclpy.init()
    answer({'ready': True})
    while line := sys.stdin.readline():
        answer(work(json.loads(line)))
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
