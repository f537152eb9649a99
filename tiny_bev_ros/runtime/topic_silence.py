# SPDX-License-Identifier: Apache-2.0
"""Lines for the log when nothing comes on a topic, and when something does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A shorter gap is for diagnostics alone: nodes that start one after the other are no news.
_LEAST_S = 5.0
_REPEAT_S = 60.0
_MOST_HINTS = 3


class TopicSilence:
    """Tells of the first message, of a gap that lasts, and of the first message after it.

    Args:
        logger: of a node.
        topic: full name.
        limit_s: longest gap that is not told; 0 for any.
        now_ns: of a monotonic clock.
        hint: tells who publishes; is asked only when there is a gap to tell of.
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
        self._last_ns, self._told_ns = now_ns(), 0
        self._begun = self._is_told = False

    def hear(self) -> None:
        """Notes a message."""
        now_ns = self._now_ns()
        if not self._begun:
            self._begun = True
            self._logger.info(f'{self._topic}: the first message came')
        elif self._is_told:
            gap = (now_ns - self._last_ns) / 1e9
            self._logger.info(f'{self._topic}: messages come again, after {gap:.0f} s')
        self._last_ns, self._is_told = now_ns, False

    def look(self) -> None:
        """Tells of a gap when it has become too long, and now and then while it lasts."""
        limit_s, now_ns = self._limit_s(), self._now_ns()
        gap = (now_ns - self._last_ns) / 1e9
        if not limit_s or gap < max(limit_s, _LEAST_S):
            return
        if self._is_told and now_ns - self._told_ns < _REPEAT_S * 1e9:
            return
        self._is_told, self._told_ns = True, now_ns
        self._logger.warning(f'{self._topic}: nothing came for {gap:.0f} s; {self._hint()}')


def who_publishes(node: Any, topic: str, types: tuple[str, ...]) -> str:
    """Publishers on a topic, and other topics of its types that have one.

    Args:
        node: which subscribes; what it publishes, or subscribes to already, is no hint.
        topic: full name.
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
    more = f' and {len(others) - _MOST_HINTS} more' if len(others) > _MOST_HINTS else ''
    return f'it has no publisher; of its type there is {", ".join(others[:_MOST_HINTS])}{more}'
