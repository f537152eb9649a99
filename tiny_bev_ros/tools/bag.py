# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 files, read and written without ROS through the rosbags library."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, cast

from tiny_bev_ros.errors import TinyBevError

try:
    from rosbags.interfaces import (
        ConnectionExtRosbag2,
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
except ImportError as error:
    # Not among the packages that rosdep knows; it is needed by the tools alone.
    raise SystemExit(f'{error}: bags are read with rosbags, pip install rosbags') from None

CLOUD_TYPE = 'sensor_msgs/msg/PointCloud2'
TF_STATIC = '/tf_static'
_EXPECTED = 'expected a rosbag2 folder, .mcap or .db3 file'
_DEPTH = 10
_UNLIMITED = QosTime(2147483647, 4294967295)


@dataclass(frozen=True)
class RecordedQos:
    """What the publishers of a recorded topic offered, joined into one offer.

    Attributes:
        reliable: False when all of them were best effort; True without a record.
        transient_local: True when any of them kept messages for late joiners.
        depth: messages to keep; at least 10, as many drivers record none or 1.
    """

    reliable: bool = True
    transient_local: bool = False
    depth: int = _DEPTH


@dataclass(frozen=True)
class BagTopic:
    """A recorded topic.

    Attributes:
        name: with a leading slash.
        type: such as 'sensor_msgs/msg/PointCloud2'.
        count: number of messages.
        qos: as recorded.
    """

    name: str
    type: str
    count: int
    qos: RecordedQos


class BagMessage(NamedTuple):
    """A stored message.

    Attributes:
        topic: its name.
        time_ns: when it was recorded, nanoseconds since 1970.
        data: serialized message (CDR), as it was on the wire.
    """

    topic: str
    time_ns: int
    data: bytes


class Bag:
    """A rosbag2 (mcap or sqlite3, plain or zstd) open for reading; a context manager.

    Args:
        path: folder with metadata.yaml, or one .mcap or .db3 file.

    Attributes:
        path: the same.
        topics: by name, in alphabetical order.

    Raises:
        TinyBevError: there is no bag, it is damaged or of an unknown kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise TinyBevError(f'bag is {self.path}, which does not exist; {_EXPECTED}')
        if self.path.is_dir() and not (self.path / 'metadata.yaml').exists():
            raise TinyBevError(f'bag is {self.path}, a folder without metadata.yaml; {_EXPECTED}')
        if self.path.is_file() and self.path.suffix not in ('.mcap', '.db3'):
            raise TinyBevError(f'bag is {self.path}; {_EXPECTED}')
        with self._one_error():
            self._reader = Reader(self.path)
            self._reader.open()
        try:
            self.topics = self._read_topics()
        except TinyBevError:
            self.close()
            raise

    def messages(self, topics: Collection[str] = ()) -> Iterator[BagMessage]:
        """The messages in the order of their recording; each call starts again.

        Args:
            topics: only these; empty: all.

        Raises:
            TinyBevError: a topic is not in the bag, the bag is damaged, or holds fewer
                messages than it says.
        """
        names = [absolute_name(topic) for topic in topics] or list(self.topics)
        for name in names:
            if name not in self.topics:
                raise TinyBevError(f'topic is {name}; {self.path} has {_listed(self.topics)}')
        return self._read(set(names))

    def close(self) -> None:
        """Closes the files."""
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_topics(self) -> dict[str, BagTopic]:
        topics = {}
        for name, info in sorted(self._reader.topics.items()):
            recorded = [cast('ConnectionExtRosbag2', c.ext) for c in info.connections]
            formats = {one.serialization_format for one in recorded}
            if formats != {'cdr'}:
                raise TinyBevError(
                    f'topic {name} of {self.path} is serialized as {_listed(sorted(formats))}; '
                    'expected cdr'
                )
            if info.msgtype is None:
                types = _listed(sorted({c.msgtype for c in info.connections}))
                raise TinyBevError(f'topic {name} of {self.path} is {types}; expected one type')
            profiles = [qos for one in recorded for qos in one.offered_qos_profiles]
            name = absolute_name(name)  # noqa: PLW2901
            topics[name] = BagTopic(name, info.msgtype, info.msgcount, _join(profiles))
        return topics

    def _read(self, names: set[str]) -> Iterator[BagMessage]:
        # rosbags skips, without a word, topics whose QoS in metadata.yaml is not that in
        # the files, so it is asked by what the files say.
        storages = getattr(self._reader.storage, 'storages', [self._reader.storage])
        connections = [
            connection
            for storage in storages
            for connection in storage.connections
            if absolute_name(connection.topic) in names
        ]
        read = 0
        # To rosbags, no connections are all connections.
        if connections:
            with self._one_error():
                for connection, time_ns, data in self._reader.messages(connections):
                    if data[:1] != b'\0':
                        raise ValueError(
                            f'a message on {connection.topic} is not CDR; files of a compressed '
                            'bag are read through their folder'
                        )
                    yield BagMessage(absolute_name(connection.topic), time_ns, data)
                    read += 1
        count = sum(self.topics[name].count for name in names)
        if read < count:
            raise TinyBevError(f'bag {self.path} holds {read} messages; its index says {count}')

    @contextmanager
    def _one_error(self) -> Iterator[None]:
        """Turns whatever a damaged file makes rosbags raise into a TinyBevError.

        Beside its ReaderError these are struct, zstd, SQLite and many other errors.
        """
        try:
            yield
        except Exception as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise TinyBevError(f'bag {self.path} cannot be read: {reason}') from error


def find_cloud_topic(bag: Bag, name: str = '') -> str:
    """The PointCloud2 topic of a bag.

    Args:
        bag: where to look.
        name: which one to take; may be empty when there is only one.

    Raises:
        TinyBevError: none is there, it is not clear which, or the named one is missing
            or of another type; says which there are.
    """
    clouds = [topic.name for topic in bag.topics.values() if topic.type == CLOUD_TYPE]
    if name:
        absolute = absolute_name(name)
        if absolute in clouds:
            return absolute
        found = bag.topics.get(absolute)
        what = f'a {found.type}' if found else 'not in the bag'
        raise TinyBevError(
            f'topic {absolute} is {what}; PointCloud2 topics of {bag.path}: {_listed(clouds)}'
        )
    if not clouds:
        raise TinyBevError(
            f'bag {bag.path} has no PointCloud2 topic; it has {_listed(bag.topics)}'
        )
    if len(clouds) > 1:
        raise TinyBevError(
            f'bag {bag.path} has {len(clouds)} PointCloud2 topics; name one of {_listed(clouds)}'
        )
    return clouds[0]


def absolute_name(topic: str) -> str:
    """The topic's name as bags have it: with a leading slash."""
    return topic if topic.startswith('/') else f'/{topic}'


def write_bag(path: str | Path, topics: Mapping[str, str], messages: Iterable[BagMessage]) -> None:
    """Writes messages as an mcap bag that `ros2 bag` reads.

    The folder appears when all is written: one that is there is complete.

    Args:
        path: of the folder, which must not exist yet.
        topics: their types by name.
        messages: in the order of time.

    Raises:
        TinyBevError: the path exists or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise TinyBevError(f'bag is {path}, which exists; expected a new folder')
    qos = Qos(
        QosHistory.KEEP_LAST,
        _DEPTH,
        QosReliability.RELIABLE,
        QosDurability.VOLATILE,
        _UNLIMITED,
        _UNLIMITED,
        QosLiveliness.AUTOMATIC,
        _UNLIMITED,
        False,
    )
    # Transforms that never change are for those who come later, too.
    kept = qos._replace(durability=QosDurability.TRANSIENT_LOCAL)
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
                        offered_qos_profiles=[kept if topic == TF_STATIC else qos],
                    )
                    for topic, kind in topics.items()
                }
                for topic, time_ns, data in messages:
                    writer.write(connections[topic], time_ns, data)
            part.rename(path)
    except OSError as error:
        raise TinyBevError(f'bag {path} cannot be written: {error}') from error


def _join(profiles: list[Qos]) -> RecordedQos:
    """One offer that every subscriber of the recorded ones is content with."""
    if not profiles:
        return RecordedQos()
    return RecordedQos(
        reliable=any(qos.reliability != QosReliability.BEST_EFFORT for qos in profiles),
        transient_local=any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in profiles),
        depth=max(_DEPTH, *(_depth(qos) for qos in profiles)),
    )


def _depth(qos: Qos) -> int:
    # Recorders note an unknown history with any depth, up to 2**32 - 1.
    return qos.depth if qos.history == QosHistory.KEEP_LAST else _DEPTH


def _listed(names: Iterable[str]) -> str:
    return ', '.join(names) or 'no topics'
