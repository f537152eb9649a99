# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras to the frames of their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Condition
from typing import Generic, TypeVar

from tiny_bev_ros.runtime.camera_stats import CameraStats

Item = TypeVar('Item')

# Messages of each camera that wait for a frame: a third of a second at 30 Hz, which is longer
# than it takes to compute features of points.
_KEPT = 10
# Frames whose stamps go back by more are of a bag that began again.
_AGAIN_NS = 10**9


@dataclass
class Message(Generic[Item]):
    """One that was kept for a frame.

    Attributes:
        stamp_ns: its time.
        item: what it holds.
        late: whether it came after the frame of its time.
        taken: whether a frame has it, so that it is counted when that tells what became of it.
        settled: whether it was counted.
    """

    stamp_ns: int
    item: Item
    late: bool
    taken: bool = False
    settled: bool = False


class ApproximateTimeSync(Generic[Item]):
    """Finds for each frame the message of each camera whose stamp is nearest.

    Who takes a message settles it.

    A frame waits for a camera only as long as the next message may be of its time. A camera that
    was waited for in vain is not waited for again until it is heard: one that is unplugged costs
    one wait. Cameras may be faster or slower than frames; one message may serve several frames.

    It may be used from several threads, frames from one. Of a camera a few messages are kept.

    Args:
        tallies: by camera; hear what becomes of its messages, which they have counted as
            received, and which frames went without.
    """

    def __init__(self, tallies: Mapping[str, CameraStats]) -> None:
        self._tallies = tallies
        self._kept: dict[str, deque[Message[Item]]] = {name: deque() for name in tallies}
        self._silent: set[str] = set()
        self._last_ns: int | None = None
        self._stopped = False
        self._changed = Condition()

    def put(self, camera: str, stamp_ns: int, item: Item) -> None:
        """Keeps a message for a frame of its time."""
        with self._changed:
            if self._stopped:
                self._tallies[camera].drop('stopped')
                return
            kept = self._kept[camera]
            if kept and stamp_ns < kept[-1].stamp_ns:
                # A bag began again: what is kept is of another time.
                self._drop(camera, len(kept))
            elif len(kept) == _KEPT:
                self._drop(camera, 1)
            late = self._last_ns is not None and stamp_ns <= self._last_ns
            kept.append(Message(stamp_ns, item, late))
            self._silent.discard(camera)
            self._changed.notify()

    def take(
        self, stamp_ns: int, within_ns: int, wait_s: float
    ) -> dict[str, Message[Item] | None]:
        """The message of each camera at the time of a frame; None for one that is missing.

        Args:
            stamp_ns: of the frame.
            within_ns: how far stamps may be apart.
            wait_s: how long to wait for cameras that have sent nothing of this time or later.
        """
        with self._changed:
            if self._last_ns is not None and stamp_ns < self._last_ns - _AGAIN_NS:
                self._begin_again((stamp_ns + self._last_ns) // 2)
            self._changed.wait_for(
                lambda: self._stopped or not self._awaited(stamp_ns - within_ns), wait_s
            )
            self._silent |= self._awaited(stamp_ns - within_ns)
            self._last_ns = stamp_ns
            return {name: self._pick(name, stamp_ns, within_ns) for name in self._kept}

    def settle(self, camera: str, message: Message[Item], cause: str = '') -> None:
        """Counts what became of a message that was taken: used, or dropped for a cause.

        It is counted once, however many frames take it; what was dropped is given to no other.
        """
        with self._changed:
            if cause:
                kept = self._kept[camera]
                self._kept[camera] = deque(each for each in kept if each is not message)
            if message.settled:
                return
            message.settled = True
            if cause:
                self._tallies[camera].drop(cause)
            else:
                self._tallies[camera].publish()

    def stop(self) -> None:
        """Ends a wait, and drops what is kept and what is yet to come."""
        with self._changed:
            self._stopped = True
            for camera, kept in self._kept.items():
                for message in kept:
                    if not message.taken:
                        self._tallies[camera].drop('stopped')
                kept.clear()
            self._changed.notify_all()

    def _begin_again(self, middle_ns: int) -> None:
        """Drops messages of the end of a bag: its beginning is to be waited for."""
        for camera, kept in self._kept.items():
            if kept and kept[0].stamp_ns > middle_ns:
                self._drop(camera, len(kept))

    def _awaited(self, since_ns: int) -> set[str]:
        """The cameras whose next message may be the first of a time, or later."""
        return {
            name
            for name, kept in self._kept.items()
            if name not in self._silent and not (kept and kept[-1].stamp_ns >= since_ns)
        }

    def _pick(self, camera: str, stamp_ns: int, within_ns: int) -> Message[Item] | None:
        kept, tally = self._kept[camera], self._tallies[camera]
        nearest = min(kept, key=lambda message: abs(message.stamp_ns - stamp_ns), default=None)
        # Frames to come have no use for what is older.
        self._drop(camera, sum(message.stamp_ns < stamp_ns - within_ns for message in kept))
        if nearest is None:
            tally.go_without('nothing came since the frame before')
            return None
        apart_ns = nearest.stamp_ns - stamp_ns
        if abs(apart_ns) > within_ns:
            tally.go_without(
                f'the nearest stamp is {apart_ns / 1e6:+.1f} ms from that of the frame; '
                f'expected at most {within_ns / 1e6:g} ms'
            )
            return None
        nearest.taken = True
        return nearest

    def _drop(self, camera: str, count: int) -> None:
        """Drops the oldest messages."""
        for _ in range(count):
            message = self._kept[camera].popleft()
            if not message.taken:
                self._tallies[camera].drop('late' if message.late else 'unpaired')
