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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, cast

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.recorded_qos import DEPTH, RecordedQos, joined
from tiny_bev_ros.bag.storage_files import METADATA, open_files
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


@dataclass(frozen=True)
class BagTopic:
    """A recorded topic.

    Attributes:
        name: topic name with a leading slash.
        type: message type such as 'sensor_msgs/msg/PointCloud2'.
        count: number of messages.
        qos: quality of service as recorded.
    """

    name: str
    type: str
    count: int
    qos: RecordedQos


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

    Attributes:
        path: path of the bag.
        topics: readable topics by name, in alphabetical order.
        unreadable: reasons by name of the topics that cannot be read.
        remarks: lines about irregularities, such as a recorder that was killed.

    Raises:
        TinyBevError: the bag is missing, damaged or of an unknown kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._files = open_files(self.path)
        self.remarks = list(self._files.remarks)
        self.topics: dict[str, BagTopic] = {}
        self.unreadable: dict[str, str] = {}
        self._list_topics()

    def messages(self, topics: Collection[str] = ()) -> Iterator[BagMessage]:
        """Yields messages in the order of recording; each call starts again.

        Args:
            topics: topics to read; empty for all.

        Raises:
            TinyBevError: a topic is not in the bag, the bag is damaged, or holds fewer
                messages than its index says.
        """
        names = [absolute_name(topic) for topic in topics] or list(self.topics)
        self.refuse_unreadable(names)
        for name in names:
            if name not in self.topics:
                raise TinyBevError(f'topic is {name}; {self.path} has {_listed(self.topics)}')
        return self._read(set(names))

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

    def _list_topics(self) -> None:
        files = self._files
        names = {absolute_name(each.topic) for each in (*files.connections, *files.promised)}
        for name in sorted(names):
            stored = [each for each in files.connections if absolute_name(each.topic) == name]
            promised = [each for each in files.promised if absolute_name(each.topic) == name]
            every = stored + promised
            formats = sorted({_extension(each).serialization_format for each in every})
            # A type without messages does not count.
            types = sorted({each.msgtype for each in every if each.msgcount}) or sorted(
                {each.msgtype for each in every}
            )
            if formats != ['cdr']:
                self.unreadable[name] = f'serialized as {", ".join(formats)}; expected cdr'
            elif len(types) > 1:
                self.unreadable[name] = f'of the types {", ".join(types)}; expected one type'
            else:
                profiles = [
                    qos
                    for each in promised or stored
                    for qos in _extension(each).offered_qos_profiles
                ]
                count = max(_messages(stored), _messages(promised))
                self.topics[name] = BagTopic(name, types[0], count, joined(profiles))
        indexed, held = _messages(files.promised), _messages(files.connections)
        if files.promised and indexed < held:
            self.remarks.append(f'{METADATA} says {indexed} messages; the files hold {held}')

    def _read(self, names: set[str]) -> Iterator[BagMessage]:
        connections = [
            each for each in self._files.connections if absolute_name(each.topic) in names
        ]
        read = 0
        for connection, time_ns, data in self._files.messages(connections):
            if data[:1] != b'\0':
                raise TinyBevError(
                    f'bag {self.path} cannot be read: a message on {connection.topic} is not CDR; '
                    'files of a compressed bag are read through their folder'
                )
            yield BagMessage(absolute_name(connection.topic), time_ns, data)
            read += 1
        count = sum(self.topics[name].count for name in names)
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


def absolute_name(topic: str) -> str:
    """Returns the topic name as bags store it: with a leading slash."""
    return topic if topic.startswith('/') else f'/{topic}'


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


def _extension(connection: Connection) -> ConnectionExtRosbag2:
    return cast('ConnectionExtRosbag2', connection.ext)


def _messages(connections: Iterable[Connection]) -> int:
    return sum(each.msgcount for each in connections)


def _listed(names: Iterable[str]) -> str:
    return ', '.join(names) or 'no topics'
