# SPDX-License-Identifier: Apache-2.0
"""A thread that works on the newest input; what arrives meanwhile replaces what waits."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar('Item')


class LatestOnlyWorker(Generic[Item]):
    """One place for an item that waits, and a thread that takes items from there.

    Latency is therefore bounded by the time of two items, however fast they come.

    Args:
        work: is called with each item in the thread; must not raise.
        dropped: is called, in another thread, with each item that gives way, and a cause.
        name: of the thread.
    """

    def __init__(
        self, work: Callable[[Item], None], dropped: Callable[[Item, str], None], name: str
    ) -> None:
        self._work, self._dropped = work, dropped
        self._waiting: list[Item] = []
        self._stopped = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Leaves an item to be worked on, in the place of one that still waits."""
        with self._changed:
            old, self._waiting = self._waiting, [item]
            if self._stopped:
                old, self._waiting = self._waiting, []
            self._changed.notify()
        for each in old:
            self._dropped(each, 'stopped' if self._stopped else 'replaced')

    def stop(self, seconds: float) -> bool:
        """Ends the thread after the item that it works on; whether it did within so long."""
        with self._changed:
            self._stopped = True
            old, self._waiting = self._waiting, []
            self._changed.notify()
        for each in old:
            self._dropped(each, 'stopped')
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                (item,), self._waiting = self._waiting, []
            self._work(item)
            del item  # it may be large, and the next one may be long in coming
