# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Health of a node in the terms of diagnostic_msgs: counts and times against thresholds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from tiny_bev_ros.runtime.stats import InputStats


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Thresholds:
    """Limits of a warning and of an error; 0, or 1 for fractions, disables one."""

    input_timeout_s: float
    latency_warn_ms: float
    latency_error_ms: float
    rate_warn_hz: float
    rate_error_hz: float
    dropped_warn_fraction: float
    dropped_error_fraction: float


@dataclass(frozen=True)
class NodeStatus:
    """State of a node, with counts of the last interval.

    Attributes:
        state: name of the lifecycle state.
        fault: reason why the node is not active although it should be, or ''.
        silent_s: time since the last input, or since activation.
        has_subscribers: True if an output has a subscriber.
        latency_ms: 95th percentile from arrival to output; NaN before the first output.
        rate_hz: outputs per second in the last interval.
        received: number of inputs in the last interval.
        dropped: number of these that led to no output, by cause.
        busy_s: processing time of the current input so far; 0 for none.
        warnings: further lines of level WARN.
    """

    state: str
    fault: str = ''
    silent_s: float = 0.0
    has_subscribers: bool = True
    latency_ms: float = float('nan')
    rate_hz: float = 0.0
    received: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    warnings: tuple[str, ...] = ()


def evaluate_status(now: NodeStatus, limits: Thresholds) -> tuple[Level, str]:
    """Returns the highest level of all findings, and the findings as text.

    Args:
        now: state of the node.
        limits: thresholds.
    """
    if now.fault:
        return Level.ERROR, f'{now.state}: {now.fault}'
    if now.state != 'active':
        return Level.OK, now.state
    found = [
        *_input_findings(now, limits),
        *_speed_findings(now, limits),
        *[(Level.WARN, warning) for warning in now.warnings],
    ]
    if not found:
        return Level.OK, 'active' if now.has_subscribers else 'active, without subscribers'
    return max(level for level, _ in found), '; '.join(text for _, text in found)


def _input_findings(now: NodeStatus, limits: Thresholds) -> list[tuple[Level, str]]:
    found = []
    if limits.input_timeout_s and now.silent_s > limits.input_timeout_s:
        found.append((Level.ERROR, f'no input for {now.silent_s:.1f} s'))
    if limits.input_timeout_s and now.busy_s > limits.input_timeout_s:
        found.append((Level.ERROR, f'one input has been processed for {now.busy_s:.1f} s'))
    if now.dropped['failed']:
        found.append((Level.ERROR, f'processing failed for {now.dropped["failed"]} inputs'))
    # Without subscribers, dropping inputs is correct.
    received = now.received - now.dropped['no_subscribers']
    dropped = now.dropped.total() - now.dropped['no_subscribers']
    if received > 0:
        causes = ', '.join(
            f'{count} {cause}'
            for cause, count in now.dropped.items()
            if count and cause != 'no_subscribers'
        )
        text = f'{dropped} of {received} inputs dropped: {causes}'
        found += _compare(
            dropped / received, limits.dropped_warn_fraction, limits.dropped_error_fraction, text
        )
    return found


def _speed_findings(now: NodeStatus, limits: Thresholds) -> list[tuple[Level, str]]:
    found = _compare(
        now.latency_ms,
        limits.latency_warn_ms or float('inf'),
        limits.latency_error_ms or float('inf'),
        f'95 % latency is {now.latency_ms:.0f} ms',
    )
    if now.has_subscribers and now.received:
        found += _compare(
            -now.rate_hz,
            -limits.rate_warn_hz,
            -limits.rate_error_hz,
            f'output rate is {now.rate_hz:.1f} Hz',
        )
    return found


def _compare(value: float, warn: float, error: float, text: str) -> list[tuple[Level, str]]:
    if value > error:
        return [(Level.ERROR, text)]
    return [(Level.WARN, text)] if value > warn else []


@dataclass(frozen=True)
class IntervalCounts:
    """Counts and rates of one interval.

    Attributes:
        rate_in_hz: inputs per second.
        rate_out_hz: outputs per second.
        received: number of inputs.
        dropped: number of these that led to no output, by cause.
    """

    rate_in_hz: float
    rate_out_hz: float
    received: int
    dropped: Counter[str]


class IntervalCounter:
    """Splits total counts into intervals.

    Args:
        stats: total counts.
        now_ns: start of the first interval, by a monotonic clock.
    """

    def __init__(self, stats: InputStats, now_ns: int) -> None:
        self._stats = stats
        self._last = self._snapshot(now_ns)

    def next_interval(self, now_ns: int) -> IntervalCounts:
        """Returns the counts since the last call, or since the beginning."""
        then_ns, received, published, dropped = self._last
        self._last = self._snapshot(now_ns)
        seconds = max((now_ns - then_ns) / 1e9, 1e-9)
        new = self._last[1] - received
        new_dropped = Counter(
            {cause: count - dropped[cause] for cause, count in self._last[3].items()}
        )
        rate_out = (self._last[2] - published) / seconds
        return IntervalCounts(new / seconds, rate_out, new, new_dropped)

    def _snapshot(self, now_ns: int) -> tuple[int, int, int, Counter[str]]:
        stats = self._stats
        return now_ns, stats.received, stats.published, Counter(stats.dropped)
