# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Point clouds of a bag as arrays, without ROS."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, find_cloud_topic
from tiny_bev_ros.bag.storage_files import message_of
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.message_fields import Stamp, stamp_of
from tiny_bev_ros.messages.point_cloud import DecodedCloud, decode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions

_DEFAULTS = CloudOptions()


@dataclass(frozen=True, eq=False)
class BagFrame:
    """One cloud of a bag.

    Attributes:
        index: number of the cloud among all clouds of its topic, an index into `Bag.times`.
        time_ns: time of recording, nanoseconds since 1970.
        stamp: stamp of the cloud, (sec, nanosec).
        frame_id: coordinate frame of the points.
        points: (N,4) float32 x, y, z in metres and intensity, or (N,5) with time in seconds; all
            finite. May be a read-only view of the bytes of the message.
        dropped: number of points that are not in ``points``, as one of their values is not finite.
        notes: one line for each wrong statement of the message that was not followed.
    """

    index: int
    time_ns: int
    stamp: Stamp
    frame_id: str
    points: np.ndarray
    dropped: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedCloud:
    """One cloud of a bag that cannot be decoded.

    Attributes:
        index: number of the cloud among all clouds of its topic.
        time_ns: time of recording, nanoseconds since 1970.
        stamp: stamp of the cloud, (sec, nanosec); None where the message itself is damaged.
        reason: reason in one line.
    """

    index: int
    time_ns: int
    stamp: Stamp | None
    reason: str


def read_bag(
    path: str | Path,
    topic: str = '',
    *,
    every: int = 1,
    first: int = 0,
    count: int | None = None,
    options: CloudOptions = _DEFAULTS,
) -> Iterator[BagFrame]:
    """Yields the clouds of a bag (rosbag2: mcap or sqlite3, plain or zstd); needs no ROS.

    The bag is open while the generator is alive. Irregularities of the bag, such as a recorder
    that was killed, are warnings of Python.

    Args:
        path: folder with metadata.yaml, or one .mcap or .db3 file.
        topic: PointCloud2 topic; may be empty when there is only one.
        every: step over the clouds; frames are every Nth cloud, from the first one.
        first: number of the first frame.
        count: number of frames; None for all of the rest.
        options: options of intensity and time.

    Raises:
        TinyBevError: the bag or its topic cannot be read, there are fewer frames, or a cloud
            cannot be decoded. `read_clouds` goes on after such a cloud.
    """
    with Bag(path) as bag:
        for remark in bag.remarks:
            warnings.warn(f'{bag.path}: {remark}', stacklevel=2)
        decode = partial(decode_cloud, options=options)
        yield from read_frames(bag, topic, every=every, first=first, count=count, decode=decode)


def read_frames(
    bag: Bag,
    topic: str = '',
    *,
    every: int = 1,
    first: int = 0,
    count: int | None = None,
    decode: Callable[[Any], DecodedCloud] = decode_cloud,
) -> Iterator[BagFrame]:
    """Yields the clouds of an open bag; arguments and errors are those of `read_clouds`.

    Raises:
        TinyBevError: in addition, a cloud cannot be decoded.
    """
    for cloud in read_clouds(bag, topic, every=every, first=first, count=count, decode=decode):
        if isinstance(cloud, SkippedCloud):
            raise TinyBevError(
                f'cloud {cloud.index} of {bag.path} cannot be decoded: {cloud.reason}'
            )
        yield cloud


def read_clouds(
    bag: Bag,
    topic: str = '',
    *,
    every: int = 1,
    first: int = 0,
    count: int | None = None,
    decode: Callable[[Any], DecodedCloud] = decode_cloud,
) -> Iterator[BagFrame | SkippedCloud]:
    """Yields the clouds of an open bag, and a `SkippedCloud` for each that cannot be decoded.

    Only the parts of the bag that hold these clouds are read.

    Args:
        bag: bag that stays open meanwhile.
        topic: PointCloud2 topic; may be empty when there is only one.
        every: step over the clouds; frames are every Nth cloud, from the first one.
        first: number of the first frame.
        count: number of frames; None for all of the rest.
        decode: decoder of a message; called with an object that has the attributes of a
            sensor_msgs/PointCloud2.

    Raises:
        TinyBevError: the topic is missing, the bag is damaged, or there are fewer frames.
    """
    name = find_cloud_topic(bag, topic)
    total = len(bag.times(name))
    if every < 1:
        raise TinyBevError(f'every is {every}; expected at least 1')
    frames = count_frames(total, every)
    stop = frames if count is None else first + count
    if not 0 <= first <= stop <= frames:
        raise TinyBevError(
            f'frames are {first} to {stop}; expected 0 to {frames}, those of {name} in {bag.path}'
        )
    begin, end = min(first * every, total), min(stop * every, total)
    messages = bag.slice(name, begin, end - begin)
    for index, message in islice(enumerate(messages, begin), 0, None, every):
        stamp = None
        try:
            cloud = _deserialize(message.data)
            stamp = stamp_of(cloud)
            decoded = decode(cloud)
        except TinyBevError as error:
            yield SkippedCloud(index, message.time_ns, stamp, str(error))
            continue
        yield BagFrame(
            index,
            message.time_ns,
            stamp,
            cloud.header.frame_id,
            decoded.points,
            decoded.dropped,
            decoded.notes,
        )


def count_frames(clouds: int, every: int) -> int:
    """Returns the number of frames when every Nth of some clouds is taken."""
    return -(-clouds // every)


def _deserialize(data: bytes) -> Any:
    """Returns a PointCloud2 whose data are a view of the message."""
    try:
        return _typestore().deserialize_cdr(memoryview(data), CLOUD_TYPE)
    except Exception as error:  # rosbags raises several kinds for a damaged message
        raise TinyBevError(
            f'message is damaged ({message_of(error)}); expected {CLOUD_TYPE}'
        ) from error


@functools.cache
def _typestore() -> Any:
    return get_typestore(Stores.ROS2_JAZZY)
