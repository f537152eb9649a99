# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fields that many messages share: header, stamp, and checks of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiny_bev_ros.errors import TinyBevError

if TYPE_CHECKING:
    from std_msgs.msg import Header

# (sec, nanosec), as builtin_interfaces/Time has them.
Stamp = tuple[int, int]


def make_header(stamp: Stamp, frame_id: str) -> Header:
    """Makes a header.

    Args:
        stamp: seconds and nanoseconds.
        frame_id: coordinate frame.
    """
    # Late imports: labels are used without the message packages, too.
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    return Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id=frame_id)


def stamp_of(message: Any) -> Stamp:
    """Returns the stamp in the header of a message."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def byte_view(data: Any, needed: int, sizes: str) -> memoryview:
    """Returns the data of a message as bytes.

    Args:
        data: object with the buffer protocol.
        needed: number of bytes that the sizes of the message ask for.
        sizes: these sizes as text, for the error.

    Raises:
        TinyBevError: data is no contiguous buffer, or too short.
    """
    try:
        view = memoryview(data).cast('B')
    except TypeError:
        raise TinyBevError(f'data is a {type(data).__name__}; expected contiguous bytes') from None
    if view.nbytes < needed:
        raise TinyBevError(f'data has {view.nbytes} bytes; expected at least {needed} ({sizes})')
    return view


def check_max_bytes(name: str, size: int, max_bytes: int | None) -> None:
    """Raises TinyBevError when something is larger than max_bytes; None allows any size."""
    if max_bytes is not None and size > max_bytes:
        raise TinyBevError(f'{name} has {size} bytes; expected at most {max_bytes}')
