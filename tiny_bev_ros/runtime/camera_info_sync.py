# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pairs of an image and the camera_info of its stamp."""

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

# Number of camera infos kept: larger than the number of image sizes, and than the number of
# infos that arrive between an info and its image.
_QUEUE_SIZE = 20


@dataclass(frozen=True)
class _Stamped(Generic[Kind]):
    stamp_ns: int
    size: Size
    value: Kind


class CameraInfoSync(Generic[Image, Info]):
    """Matches each image of a camera with its camera_info.

    A driver stamps both alike and sends either one first: an image waits for its info. Where
    infos have other stamps, or a latched one was sent once, the newest of the same size is taken
    at once. An image whose info is lost waits until the next image, or a later info, and is then
    matched with the newest of its size, or rejected.

    Thread-safe.

    Args:
        callback: receives each image and its info.
        on_reject: receives each image without a match, and the reason.
    """

    def __init__(
        self, callback: Callable[[Image, Info], None], on_reject: Callable[[Image, str], None]
    ) -> None:
        self._callback, self._on_reject = callback, on_reject
        self._infos: deque[_Stamped[Info]] = deque(maxlen=_QUEUE_SIZE)  # newest first
        self._waiting: _Stamped[Image] | None = None
        self._last_ns: int | None = None
        # True while infos are known to have the stamps of images.
        self._stamps_match = False
        self._lock = Lock()

    def add_image(self, stamp_ns: int, size: Size, value: Image) -> None:
        """Matches an image, or lets it wait.

        Args:
            stamp_ns: stamp in ns.
            size: width and height in pixels.
            value: the image.
        """
        with self._lock:
            self._finish_waiting()
            self._last_ns = stamp_ns
            self._waiting = _Stamped(stamp_ns, size, value)
            exact = any(info.stamp_ns == stamp_ns for info in self._infos)
            fits = any(info.size == size for info in self._infos)
            if exact or (fits and not self._stamps_match):
                self._finish_waiting()

    def add_camera_info(self, stamp_ns: int, size: Size, value: Info) -> None:
        """Keeps an info, and matches the image that waits for it.

        Args:
            stamp_ns: stamp in ns.
            size: width and height in pixels.
            value: the info.
        """
        with self._lock:
            self._infos.appendleft(_Stamped(stamp_ns, size, value))
            self._stamps_match |= stamp_ns == self._last_ns
            image = self._waiting
            if image is None:
                return
            if stamp_ns >= image.stamp_ns if self._stamps_match else size == image.size:
                self._finish_waiting()

    def stop(self) -> int:
        """Clears both queues; returns the number of images that waited."""
        with self._lock:
            waited = self._waiting is not None
            self._waiting = None
            self._infos.clear()
            return int(waited)

    def _finish_waiting(self) -> None:
        """Matches the waiting image with the best info received, or rejects it."""
        image, self._waiting = self._waiting, None
        if image is None:
            return
        same = [info for info in self._infos if info.stamp_ns == image.stamp_ns]
        self._stamps_match = bool(same)
        candidates = same or list(self._infos)
        if not candidates:
            self._on_reject(
                image.value,
                'no camera_info was received yet; '
                'expected one with the stamp or size of the image',
            )
            return
        fitting = [info for info in candidates if info.size == image.size]
        if fitting:
            self._callback(image.value, fitting[0].value)
            return
        sizes = dict.fromkeys(f'{info.size[0]} x {info.size[1]}' for info in candidates)
        self._on_reject(
            image.value,
            f'image size is {image.size[0]} x {image.size[1]} pixels; '
            f'expected {" or ".join(sizes)}, the size in camera_info',
        )
