# SPDX-License-Identifier: Apache-2.0
"""Where the time of an input goes, and how times of many are summed up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class FrameTimes:
    """The times of one input.

    Args:
        received_ns: when it arrived, by the monotonic clock.
        now_ns: that clock.

    Attributes:
        stages_ms: by name; 'wait' is the time from its arrival until somebody took it up. Those
            of a device are known after `settle`.
    """

    def __init__(self, received_ns: int, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._received_ns, self._begun_ns = received_ns, now_ns()
        self.stages_ms = {'wait': (self._begun_ns - received_ns) / 1e6}
        self._on_device: list[tuple[str, Any, Any]] = []

    @contextmanager
    def stage(self, name: str, moment: Callable[[], Any] = lambda: None) -> Iterator[None]:
        """Times what is done inside; the same name twice adds up.

        Args:
            name: of the stage.
            moment: makes one, with `wait` and `ms_until`, of a device that works without being
                waited for; None where the host's clock will do.
        """
        begin_ns, begin, end = self._now_ns(), moment(), None
        try:
            yield
            end = moment()
        finally:
            if begin is None or end is None:
                self._add(name, (self._now_ns() - begin_ns) / 1e6)
            else:
                self._on_device.append((name, begin, end))

    def settle(self) -> None:
        """Reads the times of the device, which by now has given its results."""
        if self._on_device:
            self._on_device[-1][2].wait()
        for name, begin, end in self._on_device:
            self._add(name, begin.ms_until(end))
        self._on_device.clear()

    def _add(self, name: str, spent_ms: float) -> None:
        self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent_ms

    def processing_ms(self) -> float:
        """Since it was taken up."""
        return (self._now_ns() - self._begun_ns) / 1e6

    def latency_ms(self) -> float:
        """Since it arrived."""
        return (self._now_ns() - self._received_ns) / 1e6


class Percentiles:
    """Of the latest values."""

    def __init__(self, size: int = 600) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """One more; the oldest gives way."""
        self._values.append(value)

    def clear(self) -> None:
        """Forgets all."""
        self._values.clear()

    def at(self, *percents: float) -> list[float]:
        """The percentiles asked for; NaN where there is no value yet."""
        values = list(self._values)  # as another thread may add one meanwhile
        if not values:
            return [float('nan')] * len(percents)
        return [float(value) for value in np.percentile(values, percents)]
