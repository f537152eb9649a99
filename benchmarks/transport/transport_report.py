# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Markdown report of the transport benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.tables import SPREAD, as_table, spread
from benchmarks.timing import median

_NODES = """\
One process publishes clouds and receives features. The nodes are processes of their own that all
run at once and get one cloud at a time in turn.
"""
_STREAMS = """\
Clouds at 10 Hz, independent of the nodes' latency, one route after the other and again, with the
default number of threads of PyTorch.
"""
_ARRAYS = """\
Two processes, keep last 1; milliseconds from before an array is filled in until the receiver has
a NumPy view of it. All but tiny_bev_ros runs with the defaults of ROS 2: no Fast DDS profile, no
tuned allocator. "Plain reader" is a subscription of rclpy in such a process. All methods ran in
turn, twice. CPU time is that of one array, in each of the two processes.
"""
_END_HEAD = ['median ms', '95 % ms', 'lost']
OURS, KEPT = 'tiny_bev_ros', 'kept array.array'


def transport_tables(result: dict[str, Any]) -> list[str]:
    """Renders the result of `benchmarks.run.try_transport`."""
    parts = [f'- {line}' for line in result['left_out']]
    if 'latencies' in result:
        parts += ['## Latency of the nodes', _NODES, _latencies(result['latencies'])]
        parts += ['## Nodes under load', _STREAMS, _streams(result['streams'])]
        parts += ['## Arrays between two processes', _ARRAYS, *_arrays(result['arrays'])]
    return parts


def ratio_to_plain(rows: list[dict[str, Any]]) -> float | None:
    """Returns the median of the package over that of the best plain method.

    Args:
        rows: rows of one size; reliable ones count.

    Returns:
        Ratio, or None where an array of either did not arrive.
    """
    medians = {
        row['name']: median(row['ms'])
        for row in reversed(rows)  # The lowest rate, which comes first, counts.
        if row['reliable'] and row['ms']
    }
    if KEPT not in medians or OURS not in medians:
        return None
    return medians[OURS] / medians[KEPT]


def _latencies(times: dict[str, list[float]]) -> str:
    head = ['', 'points published -> features received, median ms', SPREAD]
    return as_table(head, [[name, *spread(ms, '.1f')] for name, ms in times.items()])


def _streams(rows: list[dict[str, Any]]) -> str:
    return as_table(
        ['', 'QoS', *_END_HEAD],
        [
            [row['name'], row['reliability'], *_end(row['ms'], len(row['ms']) + row['lost'])]
            for row in rows
        ],
    )


def _arrays(rows: list[dict[str, Any]]) -> list[str]:
    parts = []
    for size in dict.fromkeys(row['size'] for row in rows):
        size_rows = [row for row in rows if row['size'] == size]
        head = ['', 'QoS', 'Hz', *_END_HEAD, 'CPU ms, sender', 'CPU ms, reader']
        shape = ' x '.join(map(str, size_rows[0]['shape']))
        parts += [f'### {size} ({shape})', as_table(head, [_array(row) for row in size_rows])]
        if ratio := ratio_to_plain(size_rows):
            parts.append(
                f'{OURS} takes {ratio:.2f} of the time of the best plain method ({KEPT}).'
            )
    return parts


def _array(row: dict[str, Any]) -> list[str]:
    return [
        f'{row["name"]}, {row["encoding"]}' if row['name'] == OURS else row['name'],
        'reliable' if row['reliable'] else 'best effort',
        f'{row["hz"]:g}',
        *_end(row['ms'], row['sent']),
        *[f'{median(end):.1f}' for end in row['cpu_ms']],
    ]


def _end(ms: list[float], sent: int) -> list[str]:
    """Formats median, 95th percentile and losses."""
    times = [f'{median(ms):.1f}', f'{np.percentile(ms, 95):.1f}'] if ms else ['-', '-']
    return [*times, f'{sent - len(ms)} of {sent}']
