# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Log throttles: a lasting condition, a repeated reason or a silent topic is logged rarely."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import Any

_PERIOD_NS = 10 * 10**9
# Limits of a ReasonThrottle: number of kinds, and of lines per kind and period.
_MAX_KINDS = 200
_MAX_PER_KIND = 5
# nan and inf stay: they distinguish kinds of faults.
_NUMBERS = re.compile(r'[-+]?[0-9][0-9.]*(e[-+]?[0-9]+)?')
# Shorter gaps appear in diagnostics only: nodes that start one after the other cause them.
_MIN_SILENCE_S = 5.0
_SILENCE_PERIOD_NS = 60 * 10**9
_MAX_HINTS = 3


class LogThrottle:
    """Decides when to log a condition: each time that it begins, at most once in 10 s.

    Args:
        now_ns: monotonic clock in ns.
        repeat: log again every 10 s while the condition lasts.
    """

    def __init__(self, now_ns: Callable[[], int], *, repeat: bool = False) -> None:
        self._now_ns, self._repeat = now_ns, repeat
        self._logged_ns: int | None = None
        self._is_logged = False

    def should_log(self, holds: bool) -> bool:
        """Returns True if the condition is to be logged now; call it for each message."""
        if not holds:
            self._is_logged = False
            return False
        if self._is_logged and not self._repeat:
            return False
        now = self._now_ns()
        if self._logged_ns is not None and now - self._logged_ns < _PERIOD_NS:
            return False
        self._logged_ns, self._is_logged = now, True
        return True


class ReasonThrottle:
    """Decides when to log a reason: once in 10 s, and few reasons that differ in numbers only.

    Thread-safe.

    Args:
        now_ns: monotonic clock in ns.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        # By kind: start of its period, and the reasons logged in that period.
        self._logged: dict[str, tuple[int, set[str]]] = {}
        self._lock = Lock()

    def should_log(self, reason: str) -> bool:
        """Returns True if the reason is to be logged now, and counts it as logged."""
        now = self._now_ns()
        kind = _NUMBERS.sub('#', reason)
        with self._lock:
            start, logged = self._logged.get(kind, (now - _PERIOD_NS, set()))
            if now - start >= _PERIOD_NS:
                start, logged = now, set()
            if reason in logged or len(logged) >= _MAX_PER_KIND:
                return False
            logged.add(reason)
            if len(self._logged) >= _MAX_KINDS:
                self._logged.clear()
            self._logged[kind] = start, logged
            return True


class TopicSilence:
    """Logs the first message of a topic, a lasting gap, and the first message after the gap.

    Args:
        logger: logger of a node.
        topic: full topic name.
        limit_s: returns the longest gap that is not logged; 0 disables the warning.
        now_ns: monotonic clock in ns.
        hint: describes the publishers; called only when a gap is logged.
    """

    def __init__(
        self,
        logger: Any,
        topic: str,
        limit_s: Callable[[], float],
        now_ns: Callable[[], int],
        hint: Callable[[], str],
    ) -> None:
        self._logger, self._topic, self._limit_s = logger, topic, limit_s
        self._now_ns, self._hint = now_ns, hint
        self._last_ns, self._logged_ns = now_ns(), 0
        self._received = self._is_logged = False

    def message_received(self) -> None:
        """Records a message, and logs the first one and the first after a gap."""
        now_ns = self._now_ns()
        if not self._received:
            self._received = True
            self._logger.info(f'{self._topic}: first message received')
        elif self._is_logged:
            gap = (now_ns - self._last_ns) / 1e9
            self._logger.info(f'{self._topic}: messages resumed after {gap:.0f} s')
        self._last_ns, self._is_logged = now_ns, False

    def check(self) -> None:
        """Logs a gap once it exceeds the limit, and every 60 s while it lasts."""
        limit_s, now_ns = self._limit_s(), self._now_ns()
        gap = (now_ns - self._last_ns) / 1e9
        if not limit_s or gap < max(limit_s, _MIN_SILENCE_S):
            return
        if self._is_logged and now_ns - self._logged_ns < _SILENCE_PERIOD_NS:
            return
        self._is_logged, self._logged_ns = True, now_ns
        self._logger.warning(f'{self._topic}: no message for {gap:.0f} s; {self._hint()}')


def describe_publishers(node: Any, topic: str, types: tuple[str, ...]) -> str:
    """Counts the publishers of a topic; without any, names other topics of its types.

    Args:
        node: subscribing node; topics that it publishes or subscribes to are no hint.
        topic: full topic name.
        types: ROS type names.
    """
    count = node.count_publishers(topic)
    if count:
        return f'it has {count} publisher{"s" if count > 1 else ""}'
    own = (node.get_name(), node.get_namespace())
    inputs = {each.topic_name for each in node.subscriptions}
    others = [
        name
        for name, kinds in node.get_topic_names_and_types()
        if name not in {topic, *inputs}
        and set(kinds) & set(types)
        and any(
            (each.node_name, each.node_namespace) != own
            for each in node.get_publishers_info_by_topic(name)
        )
    ]
    if not others:
        return 'it has no publisher'
    more = f' and {len(others) - _MAX_HINTS} more' if len(others) > _MAX_HINTS else ''
    return f'it has no publisher; topics of the same type: {", ".join(others[:_MAX_HINTS])}{more}'
