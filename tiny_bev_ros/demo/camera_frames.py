# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera frames of the fusion demo: clouds of a bag, each with the image of its time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.errors import TinyBevError

_WITHIN_NS = 50_000_000


@dataclass(frozen=True)
class CameraShot:
    """Serialized messages of one time: cloud, image and CameraInfo."""

    cloud: bytes
    image: bytes
    info: bytes

    def at(self, time_ns: int) -> CameraShot:
        """Returns the frame with another stamp: stamps of a repeated bag must not go back."""
        return CameraShot(
            *(_stamped(each, time_ns) for each in (self.cloud, self.image, self.info))
        )


def _stamped(message: bytes, time_ns: int) -> bytes:
    """Returns a serialized message that begins with a header, with another stamp."""
    # The encapsulation header has four bytes; the second one holds the byte order.
    order = '<' if message[1] & 1 else '>'
    return message[:4] + struct.pack(f'{order}iI', *divmod(time_ns, 10**9)) + message[12:]


def shots(bag: Bag, cloud: str, image: str, info: str) -> Iterator[CameraShot]:
    """Yields the clouds of a bag, each with the image nearest in time.

    Raises:
        TinyBevError: no cloud has an image within 50 ms.
    """
    images, infos = (
        [(each.time_ns, each.data) for each in bag.messages([topic])] for topic in (image, info)
    )
    found = False
    for each in bag.messages([cloud]):
        if not (images and infos):
            break
        apart, nearest = min((abs(time_ns - each.time_ns), data) for time_ns, data in images)
        if apart <= _WITHIN_NS:
            found = True
            # The nearest CameraInfo counts: bags merged of several drives hold several cameras.
            nearest_info = min((abs(time_ns - each.time_ns), data) for time_ns, data in infos)[1]
            yield CameraShot(each.data, nearest, nearest_info)
    if not found:
        raise TinyBevError(f'no cloud on {cloud} has an image on {image} within 50 ms')
