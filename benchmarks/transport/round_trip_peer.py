# SPDX-License-Identifier: Apache-2.0
"""One of the two processes between which the benchmark sends arrays.

Run as a module it reads jobs from its standard input, a line of JSON each, and answers with lines
of JSON. A sender tells when it sent each array, a receiver when each could be used, on the clock
that all processes of a machine share.
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

# Sent first and not counted: buffers are made, ends find each other.
WARM_UP = 2
_MATCH_S = 20.0
_SETTLE_S = 0.5


def send(job: dict[str, Any]) -> dict[str, Any]:
    """Sends the arrays of a job at its rate; when each was sent, and CPU time in ms."""
    node = rclpy.create_node('bench_sender')
    try:
        end = sender(node, job)
        limit = time.monotonic() + _MATCH_S
        while not end.wanted:
            if time.monotonic() > limit:
                return {'error': f'{job["way"]}: no receiver after {_MATCH_S:g} s'}
            time.sleep(0.02)
        time.sleep(_SETTLE_S)  # the other end learns of this one at about the same time
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
    """Receives until a line comes in; when each array could be used, and CPU time in ms."""
    got: dict[int, float] = {}
    cpu = time.process_time()

    def arrived(number: int) -> None:
        nonlocal cpu
        got[number] = time.monotonic()
        if number < 0:
            cpu = time.process_time()

    if job['way'] == MEMCPY:
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


def answer(words: dict[str, Any]) -> None:
    """A line for the process that gave the job."""
    print(json.dumps(words), flush=True)


def main() -> None:
    """The process."""
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
