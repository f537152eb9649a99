# SPDX-License-Identifier: Apache-2.0
"""What was measured of nodes and tensors as processes, as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.tables import as_table, spread
from benchmarks.timing import median

_NODES = """\
A process publishes clouds and receives features; the nodes are processes of their own, all of them
up and asked in turn, one cloud at a time.
"""
_STREAMS = """\
Clouds at 10 Hz, however long the nodes take, one route after the other and again; with as many
threads as PyTorch takes.
"""
_ARRAYS = """\
Two processes, keep last 1; milliseconds from before an array is filled in until the other end has
a NumPy view of it. All but tiny_bev_ros runs as ROS 2 is shipped: neither a Fast DDS profile nor a
tuned allocator. "Plain reader" is a subscription of rclpy in such a process. Every way had its
turn, and then a second one. CPU time is that of one array, in each of the two processes.
"""
_END_HEAD = ['median ms', '95 % ms', 'lost']
OURS, KEPT = 'tiny_bev_ros', 'kept array.array'


def transport_tables(result: dict[str, Any]) -> list[str]:
    """Tables of what `bench.try_transport` returns."""
    parts = [f'- {line}' for line in result['left_out']]
    if 'latencies' in result:
        parts += ['## Nodes from outside', _NODES, _latencies(result['latencies'])]
        parts += ['## Nodes under way', _STREAMS, _streams(result['streams'])]
        parts += ['## Arrays between two processes', _ARRAYS, *_arrays(result['arrays'])]
    return parts


def ratio_to_plain(rows: list[dict[str, Any]]) -> float | None:
    """Median of the package over that of the best plain way, reliable, of one size."""
    medians = {
        row['name']: median(row['ms'])
        for row in reversed(rows)  # of several rates the lowest, which comes first, counts
        if row['reliable'] and row['ms']
    }
    if KEPT not in medians or OURS not in medians:
        return None
    return medians[OURS] / medians[KEPT]


def _latencies(times: dict[str, list[float]]) -> str:
    head = ['', 'points published -> features received, median ms', 'least..greatest']
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
        mine = [row for row in rows if row['size'] == size]
        head = ['', 'QoS', 'Hz', *_END_HEAD, 'CPU ms, sender', 'CPU ms, reader']
        shape = ' x '.join(map(str, mine[0]['shape']))
        parts += [f'### {size} ({shape})', as_table(head, [_array(row) for row in mine])]
        if ratio := ratio_to_plain(mine):
            parts.append(f'{OURS} takes {ratio:.2f} of the time of the best plain way ({KEPT}).')
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
    """Median, 95 % and losses."""
    times = [f'{median(ms):.1f}', f'{np.percentile(ms, 95):.1f}'] if ms else ['-', '-']
    return [*times, f'{sent - len(ms)} of {sent}']
