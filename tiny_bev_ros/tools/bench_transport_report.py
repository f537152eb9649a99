# SPDX-License-Identifier: Apache-2.0
"""The transport's measurements as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiny_bev_ros.tools.bench_timing import median
from tiny_bev_ros.tools.bench_transport_ways import KEPT, OURS

_METHOD = """\
Two processes, keep last 1; milliseconds from before an array is filled in until the other end has
a NumPy view of it. All but tiny_bev_ros runs as ROS 2 is shipped: neither a Fast DDS profile nor a
tuned allocator. "Plain reader" is a subscription of rclpy in such a process. Every way had its
turn, and then a second one. CPU time is that of one array, in each of the two processes.
"""
_HEAD = ['', 'QoS', 'Hz', 'median ms', '95 % ms', 'lost', 'CPU ms, sender', 'CPU ms, reader']


def markdown(rows: list[dict[str, Any]]) -> str:
    """Tables of what `bench_transport.transport` returns."""
    parts = ['## Arrays between two processes', _METHOD]
    for size in dict.fromkeys(row['size'] for row in rows):
        mine = [row for row in rows if row['size'] == size]
        shape = ' x '.join(map(str, mine[0]['shape']))
        lines = [_HEAD, ['---'] * len(_HEAD), *[_line(row) for row in mine]]
        parts.append(f'### {size} ({shape})')
        parts.append('\n'.join('| ' + ' | '.join(line) + ' |' for line in lines))
        if ratio := ratio_to_plain(mine):
            parts.append(f'{OURS} takes {ratio:.2f} of the time of the best plain way ({KEPT}).')
    return '\n\n'.join(part.strip() for part in parts)


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


def _line(row: dict[str, Any]) -> list[str]:
    ms = row['ms']
    name = f'{row["name"]}, {row["encoding"]}' if row['size'] == 'pillars' else row['name']
    times = [f'{median(ms):.1f}', f'{np.percentile(ms, 95):.1f}'] if ms else ['-', '-']
    return [
        name,
        'reliable' if row['reliable'] else 'best effort',
        f'{row["hz"]:g}',
        *times,
        f'{row["sent"] - len(ms)} of {row["sent"]}',
        *[f'{median(end):.1f}' for end in row['cpu_ms']],
    ]
