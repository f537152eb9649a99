# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rosbag2 bags, read and written without ROS through the rosbags library."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.recorded_qos import DEPTH
from tiny_bev_ros.bag.recorded_topics import absolute_name, count_messages, list_topics
from tiny_bev_ros.bag.storage_files import METADATA, Message, open_files
from tiny_bev_ros.errors import TinyBevError

CLOUD_TYPE = 'sensor_msgs/msg/PointCloud2'
TF_STATIC = '/tf_static'
_UNLIMITED = QosTime(2147483647, 4294967295)
# Quality of service of the topics of written bags.
WRITTEN_QOS = Qos(
    QosHistory.KEEP_LAST,
    DEPTH,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _UNLIMITED,
    _UNLIMITED,
    QosLiveliness.AUTOMATIC,
    _UNLIMITED,
    False,
)


class BagMessage(NamedTuple):
    """A stored message.

    Attributes:
        topic: topic name.
        time_ns: time of recording, nanoseconds since 1970.
        data: serialized message (CDR), as it was on the wire.
    """

    topic: str
    time_ns: int
    data: bytes


class Bag:
    """Rosbag2 (mcap or sqlite3, plain or zstd) open for reading; a context manager.

    Args:
        path: folder with metadata.yaml, or one .mcap or .db3 file.
        scratch: folder of unpacked copies, which `close` removes; None for the temporary folder of
            the system.

    Attributes:
        path: path of the bag.
        topics: readable topics by name, in alphabetical order.
        unreadable: reasons by name of the topics that cannot be read.
        remarks: lines about irregularities, such as a recorder that was killed.

    Raises:
        TinyBevError: the bag is missing, damaged or of an unknown kind.
    """

    def __init__(self, path: str | Path, scratch: Path | None = None) -> None:
        self.path = Path(path)
        self._files = open_files(self.path, scratch)
        self.remarks = list(self._files.remarks)
        self.topics, self.unreadable = list_topics(self._files)
        self._times: dict[str, list[np.ndarray]] = {}
        promised = count_messages(self._files.promised)
        held = count_messages(self._files.connections)
        if self._files.promised and promised < held:
            self.remarks.append(f'{METADATA} says {promised} messages; the files hold {held}')

    def messages(
        self,
        topics: Collection[str] = (),
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Yields messages in the order of recording; each call starts again.

        Args:
            topics: topics to read; empty for all.
            start_ns: earliest time of recording (ns); None for the beginning of the bag.
            stop_ns: end of the times of recording (ns), which is excluded; None for the end of
                the bag. Only the parts of the bag that can hold these messages are read.

        Raises:
            TinyBevError: a topic is not in the bag, the bag is damaged, or holds fewer
                messages than its index says.
        """
        names = {self._checked(topic) for topic in topics} or set(self.topics)
        if start_ns is None and stop_ns is None:
            count = sum(self.topics[name].count for name in names)
        else:
            count = sum(_count_between(self.times(name), start_ns, stop_ns) for name in names)
        messages = self._files.messages(self._connections(names), start_ns, stop_ns)
        return self._read(messages, count)

    def times(self, topic: str) -> np.ndarray:
        """Returns (N,) int64 recording times (ns) of a topic, in the order of `messages`.

        They come from the index of the bag, where it has one, and are sorted within each file.

        Raises:
            TinyBevError: the topic is not in the bag, the bag is damaged, or its index has fewer
                messages than its metadata say.
        """
        return np.concatenate([np.empty(0, np.int64), *self._times_by_file(self._checked(topic))])

    def slice(self, topic: str, first: int, count: int) -> Iterator[BagMessage]:
        """Yields successive messages of a topic, reading only the parts of the bag that hold them.

        Args:
            topic: topic to read.
            first: number of the first message, an index into `times`.
            count: number of messages.

        Raises:
            TinyBevError: the topic is not in the bag or has fewer messages, or the bag is damaged
                or holds other messages than its index says.
        """
        name = self._checked(topic)
        times = self._times_by_file(name)
        total = sum(map(len, times))
        if not 0 <= first <= first + count <= total:
            raise TinyBevError(
                f'slice of {name} is {first} to {first + count}; expected 0 to {total}, the '
                f'messages in {self.path}'
            )
        return self._read(self._files.slice(self._connections([name]), times, first, count), count)

    def refuse_unreadable(self, names: Iterable[str]) -> None:
        """Refuses topics that are in the bag but cannot be read.

        Raises:
            TinyBevError: one of the topics cannot be read; names the reason.
        """
        for name in map(absolute_name, names):
            if name in self.unreadable:
                raise TinyBevError(f'topic {name} of {self.path} is {self.unreadable[name]}')

    def close(self) -> None:
        """Closes the files."""
        self._files.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, topic: str) -> str:
        """Returns the absolute name of a topic that can be read."""
        name = absolute_name(topic)
        self.refuse_unreadable([name])
        if name not in self.topics:
            raise TinyBevError(f'topic is {name}; {self.path} has {_listed(self.topics)}')
        return name

    def _connections(self, names: Collection[str]) -> list[Connection]:
        return [each for each in self._files.connections if absolute_name(each.topic) in names]

    def _times_by_file(self, name: str) -> list[np.ndarray]:
        if name not in self._times:
            times = self._files.times(self._connections([name]))
            self._refuse_fewer(sum(map(len, times)), self.topics[name].count)
            self._times[name] = times
        return self._times[name]

    def _read(self, messages: Iterable[Message], count: int) -> Iterator[BagMessage]:
        read = 0
        for connection, time_ns, data in messages:
            if data[:1] != b'\0':
                raise TinyBevError(
                    f'bag {self.path} cannot be read: a message on {connection.topic} is not CDR; '
                    'files of a compressed bag are read through their folder'
                )
            yield BagMessage(absolute_name(connection.topic), time_ns, data)
            read += 1
        self._refuse_fewer(read, count)

    def _refuse_fewer(self, read: int, count: int) -> None:
        if read < count:
            raise TinyBevError(f'bag {self.path} holds {read} messages; its index says {count}')


def find_cloud_topic(bag: Bag, name: str = '') -> str:
    """Returns the PointCloud2 topic of a bag.

    Args:
        bag: bag to search.
        name: topic to take; may be empty when there is only one.

    Raises:
        TinyBevError: there is none, there are several, or the named one is missing or of
            another type; lists those that exist.
    """
    clouds = [topic.name for topic in bag.topics.values() if topic.type == CLOUD_TYPE]
    if name:
        absolute = absolute_name(name)
        if absolute in clouds:
            return absolute
        bag.refuse_unreadable([absolute])
        found = bag.topics.get(absolute)
        kind = f'a {found.type}' if found else 'not in the bag'
        raise TinyBevError(
            f'topic {absolute} is {kind}; PointCloud2 topics of {bag.path}: {_listed(clouds)}'
        )
    if not clouds:
        others = [f'{name} is {why}' for name, why in bag.unreadable.items()]
        raise TinyBevError(
            '; '.join(
                [f'bag {bag.path} has no PointCloud2 topic; it has {_listed(bag.topics)}', *others]
            )
        )
    if len(clouds) > 1:
        raise TinyBevError(
            f'bag {bag.path} has {len(clouds)} PointCloud2 topics; name one of {_listed(clouds)}'
        )
    return clouds[0]


def write_bag(path: str | Path, topics: Mapping[str, str], messages: Iterable[BagMessage]) -> None:
    """Writes messages as an mcap bag that `ros2 bag` reads.

    The folder appears when everything is written: a folder that exists is complete.

    Args:
        path: path of the folder, which must not exist yet.
        topics: message types by topic name.
        messages: messages in the order of time.

    Raises:
        TinyBevError: the path exists or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise TinyBevError(f'bag is {path}, which exists; expected a new folder')
    # Static transforms are kept for late subscribers.
    latched = WRITTEN_QOS._replace(durability=QosDurability.TRANSIENT_LOCAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as folder:
            part = Path(folder, path.name)
            with Writer(part, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                connections = {
                    topic: writer.add_connection(
                        topic,
                        kind,
                        typestore=get_typestore(Stores.ROS2_JAZZY),
                        offered_qos_profiles=[latched if topic == TF_STATIC else WRITTEN_QOS],
                    )
                    for topic, kind in topics.items()
                }
                for topic, time_ns, data in messages:
                    writer.write(connections[topic], time_ns, data)
            part.rename(path)
    except OSError as error:
        raise TinyBevError(f'bag {path} cannot be written: {error}') from error


def _count_between(times: np.ndarray, start: int | None, stop: int | None) -> int:
    late = True if start is None else times >= start
    early = True if stop is None else times < stop
    return int(np.count_nonzero(np.broadcast_to(np.logical_and(late, early), times.shape)))


def _listed(names: Iterable[str]) -> str:
    return ', '.join(names) or 'no topics'
