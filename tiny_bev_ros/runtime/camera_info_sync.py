# SPDX-License-Identifier: Apache-2.0
"""Images to the camera_info of their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Image = TypeVar('Image')
Info = TypeVar('Info')
Kind = TypeVar('Kind')
Size = tuple[int, int]

# Infos of a camera: more than differ in size, and than come between an info and its image.
_KEPT = 20


@dataclass(frozen=True)
class _Timed(Generic[Kind]):
    stamp_ns: int
    size: Size
    value: Kind


class CameraInfoSync(Generic[Image, Info]):
    """Finds for each image of a camera the camera_info that belongs to it.

    A driver gives both the same stamp and sends either first: an image waits for its info. Where
    infos have other stamps, or one was sent for all time, the newest that fits the size is taken
    at once. An image whose info is lost waits until the next image, or a later info, and is then
    taken with the newest that fits, or refused.

    It may be used from several threads.

    Args:
        paired: gets each image and its info.
        refused: gets each image for which there is none, and why.
    """

    def __init__(
        self, paired: Callable[[Image, Info], None], refused: Callable[[Image, str], None]
    ) -> None:
        self._paired, self._refused = paired, refused
        self._infos: deque[_Timed[Info]] = deque(maxlen=_KEPT)  # newest first
        self._waiting: _Timed[Image] | None = None
        self._last_ns: int | None = None
        # True while infos have the stamps of images, as far as is known.
        self._stamped = False
        self._lock = Lock()

    def put_image(self, stamp_ns: int, size: Size, value: Image) -> None:
        """Pairs an image, or lets it wait."""
        with self._lock:
            self._end_wait()
            self._last_ns = stamp_ns
            self._waiting = _Timed(stamp_ns, size, value)
            exact = any(info.stamp_ns == stamp_ns for info in self._infos)
            fits = any(info.size == size for info in self._infos)
            if exact or (fits and not self._stamped):
                self._end_wait()

    def put_info(self, stamp_ns: int, size: Size, value: Info) -> None:
        """Keeps an info, and pairs the image that waits for it."""
        with self._lock:
            self._infos.appendleft(_Timed(stamp_ns, size, value))
            self._stamped |= stamp_ns == self._last_ns
            image = self._waiting
            if image is None:
                return
            awaited = stamp_ns >= image.stamp_ns if self._stamped else size == image.size
            if awaited:
                self._end_wait()

    def stop(self) -> int:
        """Forgets everything; how many images waited."""
        with self._lock:
            waited = self._waiting is not None
            self._waiting = None
            self._infos.clear()
            return int(waited)

    def _end_wait(self) -> None:
        """Pairs the image that waits as well as can be, or refuses it."""
        image, self._waiting = self._waiting, None
        if image is None:
            return
        same = [info for info in self._infos if info.stamp_ns == image.stamp_ns]
        self._stamped = bool(same)
        candidates = same or list(self._infos)
        if not candidates:
            self._refused(
                image.value,
                'there was no camera_info yet; expected one of the stamp or size of the image',
            )
            return
        fitting = [info for info in candidates if info.size == image.size]
        if fitting:
            self._paired(image.value, fitting[0].value)
            return
        sizes = dict.fromkeys(f'{info.size[0]} x {info.size[1]}' for info in candidates)
        self._refused(
            image.value,
            f'image is of {image.size[0]} x {image.size[1]} pixels; '
            f'expected {" or ".join(sizes)}, as camera_info says',
        )
