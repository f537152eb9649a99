# SPDX-License-Identifier: Apache-2.0
"""Clouds of a bag, each with the image of its time, as the demo with a camera sends them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.errors import TinyBevError

_WITHIN_NS = 50_000_000


@dataclass(frozen=True)
class Shot:
    """Serialized messages of one time: a cloud, an image and its CameraInfo."""

    cloud: bytes
    image: bytes
    info: bytes

    def at(self, time_ns: int) -> Shot:
        """The shot as of another time: a bag that is played again must not go back."""
        return Shot(*(_stamped(each, time_ns) for each in (self.cloud, self.image, self.info)))


def _stamped(message: bytes, time_ns: int) -> bytes:
    """A serialized message that begins with a header, with another stamp."""
    # Four bytes say how what follows is written; the second of them, in which order bytes are.
    order = '<' if message[1] & 1 else '>'
    return message[:4] + struct.pack(f'{order}iI', *divmod(time_ns, 10**9)) + message[12:]


def shots(bag: Bag, cloud: str, image: str, info: str) -> Iterator[Shot]:
    """The clouds of a bag, each with the image nearest to it in time.

    Raises:
        TinyBevError: no cloud has an image within 50 ms.
    """
    seen, told = (
        [(each.time_ns, each.data) for each in bag.messages([topic])] for topic in (image, info)
    )
    found = False
    for each in bag.messages([cloud]):
        if not (seen and told):
            break
        apart, nearest = min((abs(time_ns - each.time_ns), data) for time_ns, data in seen)
        if apart <= _WITHIN_NS:
            found = True
            # Another CameraInfo may be of another camera: some bags are put together of several.
            of_it = min((abs(time_ns - each.time_ns), data) for time_ns, data in told)[1]
            yield Shot(each.data, nearest, of_it)
    if not found:
        raise TinyBevError(f'no cloud on {cloud} has an image on {image} within 50 ms')
