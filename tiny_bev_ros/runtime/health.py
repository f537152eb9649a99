# SPDX-License-Identifier: Apache-2.0
"""How a node is, in the terms of diagnostic_msgs: judged from counts, times and thresholds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from tiny_bev_ros.runtime.input_stats import InputStats


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Thresholds:
    """From which on something is a warning, or an error; 0 (shares: 1) for never."""

    input_timeout_s: float
    latency_warn_ms: float
    latency_error_ms: float
    rate_warn_hz: float
    rate_error_hz: float
    dropped_warn_fraction: float
    dropped_error_fraction: float


@dataclass(frozen=True)
class NodeStatus:
    """What is known of a node.

    Attributes:
        state: of its lifecycle, by name.
        fault: '' or why it is not active although it should be.
        silent_s: since the last input, or since it became active.
        wanted: whether anybody subscribes to its output.
        latency_ms: from arrival to output at 95 %; NaN for none yet.
        rate_hz: outputs a second of late.
        dropped: inputs by cause, of late.
        received: of late.
        busy_s: since the input was taken up that is worked on; 0 for none.
        warnings: what else is to be told.
    """

    state: str
    fault: str = ''
    silent_s: float = 0.0
    wanted: bool = True
    latency_ms: float = float('nan')
    rate_hz: float = 0.0
    received: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    warnings: tuple[str, ...] = ()


def evaluate_status(now: NodeStatus, limits: Thresholds) -> tuple[Level, str]:
    """The worst that is true of a node, and all of it in words."""
    if now.fault:
        return Level.ERROR, f'{now.state}: {now.fault}'
    if now.state != 'active':
        return Level.OK, now.state
    found = [
        *_input(now, limits),
        *_speed(now, limits),
        *[(Level.WARN, warning) for warning in now.warnings],
    ]
    if not found:
        return Level.OK, 'active' if now.wanted else 'active, but nobody subscribes'
    return max(level for level, _ in found), '; '.join(text for _, text in found)


def _input(now: NodeStatus, limits: Thresholds) -> list[tuple[Level, str]]:
    found = []
    if limits.input_timeout_s and now.silent_s > limits.input_timeout_s:
        found.append((Level.ERROR, f'no input for {now.silent_s:.1f} s'))
    if limits.input_timeout_s and now.busy_s > limits.input_timeout_s:
        found.append((Level.ERROR, f'one input is worked on for {now.busy_s:.1f} s'))
    if now.dropped['failed']:
        found.append((Level.ERROR, f'the node failed over {now.dropped["failed"]} inputs'))
    # Who wants nothing is no fault of the node.
    received = now.received - now.dropped['unwanted']
    dropped = now.dropped.total() - now.dropped['unwanted']
    if received > 0:
        causes = ', '.join(
            f'{count} {cause}'
            for cause, count in now.dropped.items()
            if count and cause != 'unwanted'
        )
        text = f'{dropped} of {received} inputs dropped: {causes}'
        found += _above(
            dropped / received, limits.dropped_warn_fraction, limits.dropped_error_fraction, text
        )
    return found


def _speed(now: NodeStatus, limits: Thresholds) -> list[tuple[Level, str]]:
    found = _above(
        now.latency_ms,
        limits.latency_warn_ms or float('inf'),
        limits.latency_error_ms or float('inf'),
        f'latency at 95 % is {now.latency_ms:.0f} ms',
    )
    if now.wanted and now.received:
        found += _above(
            -now.rate_hz, -limits.rate_warn_hz, -limits.rate_error_hz, f'{now.rate_hz:.1f} Hz'
        )
    return found


def _above(value: float, warn: float, error: float, text: str) -> list[tuple[Level, str]]:
    if value > error:
        return [(Level.ERROR, text)]
    return [(Level.WARN, text)] if value > warn else []


@dataclass(frozen=True)
class IntervalCounts:
    """What happened between two looks at a tally.

    Attributes:
        rate_in_hz, rate_out_hz: inputs and outputs a second.
        received: inputs.
        dropped: of these, by cause.
    """

    rate_in_hz: float
    rate_out_hz: float
    received: int
    dropped: Counter[str]


class Rates:
    """Looks at a tally from time to time.

    Args:
        tally: counts for good.
        now_ns: of a monotonic clock.
    """

    def __init__(self, tally: InputStats, now_ns: int) -> None:
        self._tally = tally
        self._last = self._look(now_ns)

    def since(self, now_ns: int) -> IntervalCounts:
        """What happened since the last call."""
        then_ns, received, published, dropped = self._last
        self._last = self._look(now_ns)
        seconds = max((now_ns - then_ns) / 1e9, 1e-9)
        came = self._last[1] - received
        new = Counter({cause: count - dropped[cause] for cause, count in self._last[3].items()})
        return IntervalCounts(came / seconds, (self._last[2] - published) / seconds, came, new)

    def _look(self, now_ns: int) -> tuple[int, int, int, Counter[str]]:
        tally = self._tally
        return now_ns, tally.received, tally.published, Counter(tally.dropped)
