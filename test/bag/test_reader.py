# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

from collections.abc import Callable
from pathlib import Path

import pytest
from bag_kinds import KINDS
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import (
    CLOUD_TYPE,
    Bag,
    BagMessage,
    find_cloud_topic,
    write_bag,
)
from tiny_bev_ros.bag.recorded_qos import RecordedQos
from tiny_bev_ros.errors import TinyBevError

STRING, CLOUD = 'std_msgs/msg/String', 'sensor_msgs/msg/PointCloud2'
# Header of CDR, which is all that the reader interprets.
HEAD = b'\x00\x01\x00\x00'


def qos(reliability: QosReliability, durability: QosDurability, depth: int = 1) -> Qos:
    zero = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        reliability,
        durability,
        zero,
        zero,
        QosLiveliness.AUTOMATIC,
        zero,
        False,
    )


def write(
    path: Path,
    topics: dict[str, str],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    offers: tuple[Qos, ...] = (),
    count: int = 5,
) -> list[tuple[str, int, bytes]]:
    """Writes a bag with `count` messages on each topic, in turn."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    written = []
    with writer:
        connections = [
            writer.add_connection(
                name,
                kind,
                typestore=get_typestore(Stores.ROS2_JAZZY),
                offered_qos_profiles=offers,
            )
            for name, kind in topics.items()
        ]
        for index in range(count):
            for number, connection in enumerate(connections):
                time_ns = 10**18 + index * 1000 + number
                data = HEAD + f'{index} on {connection.topic}'.encode() * 40
                writer.write(connection, time_ns, data)
                written.append((connection.topic, time_ns, data))
    return written


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_every_kind_of_bag_returns_its_bytes(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    written = write(tmp_path / 'bag', {'/b': STRING, '/a': CLOUD}, storage, compression)
    with Bag(tmp_path / 'bag') as bag:
        assert [(t.name, t.type, t.count) for t in bag.topics.values()] == [
            ('/a', CLOUD, 5),
            ('/b', STRING, 5),
        ]
        assert [tuple(message) for message in bag.messages()] == written
        # Reads from the start again, and only one topic.
        only = [tuple(message) for message in bag.messages(['/b'])]
        assert only == [message for message in written if message[0] == '/b']


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_single_file_is_a_bag(tmp_path: Path, storage: StoragePlugin) -> None:
    written = write(tmp_path / 'bag', {'/a': CLOUD}, storage)
    (file,) = (path for path in (tmp_path / 'bag').iterdir() if path.suffix != '.yaml')
    with Bag(file) as bag:
        assert [tuple(message) for message in bag.messages()] == written


def test_a_file_of_compressed_messages_needs_its_folder(tmp_path: Path) -> None:
    write(tmp_path / 'bag', {'/a': CLOUD}, compression=CompressionMode.MESSAGE)
    with (
        Bag(tmp_path / 'bag' / 'bag.mcap') as bag,
        pytest.raises(TinyBevError, match='read through their folder'),
    ):
        list(bag.messages())


BEST, RELIABLE = QosReliability.BEST_EFFORT, QosReliability.RELIABLE
VOLATILE, LOCAL = QosDurability.VOLATILE, QosDurability.TRANSIENT_LOCAL


@pytest.mark.parametrize('storage', list(StoragePlugin))
@pytest.mark.parametrize(
    ('offers', 'expected'),
    [
        ((), RecordedQos()),
        ((qos(BEST, VOLATILE),), RecordedQos(reliable=False)),
        ((qos(RELIABLE, LOCAL, 50),), RecordedQos(transient_local=True, depth=50)),
        ((qos(BEST, VOLATILE), qos(RELIABLE, LOCAL)), RecordedQos(transient_local=True)),
        ((qos(QosReliability.UNKNOWN, QosDurability.UNKNOWN, 0),), RecordedQos()),
    ],
)
def test_quality_of_service_is_read(
    tmp_path: Path, storage: StoragePlugin, offers: tuple[Qos, ...], expected: RecordedQos
) -> None:
    write(tmp_path / 'bag', {'/a': STRING}, storage, offers=offers)
    with Bag(tmp_path / 'bag') as bag:
        assert bag.topics['/a'].qos == expected


def test_unknown_history_gives_the_default_depth(tmp_path: Path) -> None:
    offer = qos(RELIABLE, VOLATILE, 2**32 - 1)._replace(history=QosHistory.UNKNOWN)
    write(tmp_path / 'bag', {'/a': STRING}, offers=(offer,))
    with Bag(tmp_path / 'bag') as bag:
        assert bag.topics['/a'].qos.depth == 10


def test_metadata_that_differs_in_qos_loses_no_message(tmp_path: Path) -> None:
    written = write(tmp_path / 'bag', {'/a': STRING}, offers=(qos(RELIABLE, VOLATILE),))
    metadata = tmp_path / 'bag' / 'metadata.yaml'
    text = metadata.read_text()
    assert 'reliability: reliable' in text
    metadata.write_text(text.replace('reliability: reliable', 'reliability: best_effort'))
    with Bag(tmp_path / 'bag') as bag:
        assert not bag.topics['/a'].qos.reliable
        assert [tuple(message) for message in bag.messages()] == written


def test_fewer_messages_than_promised_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / 'bag', {'/a': STRING})
    metadata = tmp_path / 'bag' / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('message_count: 5', 'message_count: 7'))
    with (
        Bag(tmp_path / 'bag') as bag,
        pytest.raises(TinyBevError, match='holds 5 messages; its index says 7'),
    ):
        list(bag.messages())


def _no_metadata(bag: Path) -> Path:
    (bag / 'metadata.yaml').unlink()
    return bag


def _no_file(bag: Path) -> Path:
    (bag / 'bag.mcap').unlink()
    return bag


def _replace(old: str, new: str) -> Callable[[Path], Path]:
    def change(bag: Path) -> Path:
        metadata = bag / 'metadata.yaml'
        text = metadata.read_text()
        assert old in text
        metadata.write_text(text.replace(old, new))
        return bag

    return change


def _metadata(text: str) -> Callable[[Path], Path]:
    def change(bag: Path) -> Path:
        (bag / 'metadata.yaml').write_text(text)
        return bag

    return change


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda bag: bag / 'nothing', 'does not exist'),
        (lambda bag: bag / 'metadata.yaml', 'expected a rosbag2 folder, .mcap or .db3 file'),
        (_no_metadata, 'without metadata.yaml'),
        (_no_file, 'files are missing'),
        (_metadata(''), 'cannot be read'),
        (_metadata('a: [1'), 'cannot be read'),
        (_metadata('just text'), 'cannot be read'),
        (_replace('version: 9', 'version: 99'), 'version 99'),
        (_replace('storage_identifier: mcap', 'storage_identifier: tape'), "'tape'"),
        (_replace('storage_identifier: mcap', 'storage_identifier: sqlite3'), 'cannot be read'),
    ],
)
def test_other_files_are_one_clear_error(
    tmp_path: Path, change: Callable[[Path], Path], message: str
) -> None:
    write(tmp_path / 'bag', {'/a': STRING})
    path = change(tmp_path / 'bag')
    with pytest.raises(TinyBevError, match=message) as caught:
        Bag(path)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('storage', list(StoragePlugin))
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.FILE])
def test_a_cut_file_never_reads_as_whole(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    write(tmp_path / 'bag', {'/a': STRING, '/b': CLOUD}, storage, compression)
    (file,) = (path for path in (tmp_path / 'bag').iterdir() if path.suffix != '.yaml')
    whole = file.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        file.write_bytes(whole[:length])
        with pytest.raises(TinyBevError), Bag(tmp_path / 'bag') as bag:
            list(bag.messages())


def test_damage_is_a_tiny_bev_error_or_nothing(tmp_path: Path) -> None:
    write(tmp_path / 'bag', {'/a': STRING, '/b': CLOUD})
    file = tmp_path / 'bag' / 'bag.mcap'
    whole = file.read_bytes()
    refused = 0
    for position in range(0, len(whole), max(1, len(whole) // 200)):
        file.write_bytes(
            whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
        )
        try:
            with Bag(tmp_path / 'bag') as bag:
                list(bag.messages())
        except TinyBevError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ('topics', 'name', 'expected'),
    [
        ({'/a': STRING, '/p': CLOUD}, '', '/p'),
        ({'/q': CLOUD, '/p': CLOUD}, '/q', '/q'),
        ({'/q': CLOUD, '/p': CLOUD}, 'q', '/q'),
    ],
)
def test_cloud_topic_is_found(
    tmp_path: Path, topics: dict[str, str], name: str, expected: str
) -> None:
    write(tmp_path / 'bag', topics)
    with Bag(tmp_path / 'bag') as bag:
        assert find_cloud_topic(bag, name) == expected


@pytest.mark.parametrize(
    ('topics', 'name', 'message'),
    [
        ({'/a': STRING, '/b': STRING}, '', 'no PointCloud2 topic; it has /a, /b'),
        ({}, '', 'no PointCloud2 topic; it has no topics'),
        ({'/q': CLOUD, '/p': CLOUD}, '', '2 PointCloud2 topics; name one of /p, /q'),
        ({'/p': CLOUD}, '/x', 'topic /x is not in the bag; .*: /p'),
        ({'/a': STRING, '/p': CLOUD}, '/a', f'topic /a is a {STRING}; .*: /p'),
    ],
)
def test_cloud_topic_that_is_ambiguous_or_missing(
    tmp_path: Path, topics: dict[str, str], name: str, message: str
) -> None:
    write(tmp_path / 'bag', topics)
    with Bag(tmp_path / 'bag') as bag, pytest.raises(TinyBevError, match=message):
        find_cloud_topic(bag, name)


def test_unknown_topic_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path / 'bag', {'/a': STRING})
    with (
        Bag(tmp_path / 'bag') as bag,
        pytest.raises(TinyBevError, match=r'topic is /x; .* has /a'),
    ):
        bag.messages(['/x'])


def test_bag_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    topics = {'/points': CLOUD_TYPE, '/text': STRING}
    messages = [
        BagMessage(topic, 10**18 + index, HEAD + bytes([index]))
        for index, topic in enumerate(('/points', '/text', '/points'))
    ]
    write_bag(tmp_path / 'new' / 'bag', topics, messages)
    with Bag(tmp_path / 'new' / 'bag') as bag:
        assert find_cloud_topic(bag) == '/points'
        assert list(bag.messages()) == messages
        assert bag.topics['/points'].qos == RecordedQos()
    with pytest.raises(TinyBevError, match='which exists'):
        write_bag(tmp_path / 'new' / 'bag', topics, messages)

    def broken() -> object:
        yield messages[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bag(tmp_path / 'half', topics, broken())
    assert [path.name for path in tmp_path.iterdir()] == ['new']


def test_bag_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(TinyBevError, match='cannot be written'):
        write_bag(tmp_path / 'file' / 'bag', {'/points': CLOUD_TYPE}, [])


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('rosbag2_py_test_resources_mcap_talker', 20),
        ('rosbag2_py_test_resources_sqlite3_talker', 20),
        ('rosbag2_py_test_resources_mcap_wbag', 6074),
        ('rosbag2_py_test_resources_sqlite3_wbag', 6074),
        ('rosbag2_tests_resources_mcap_bag_with_topics_and_service_events', 10),
        ('rosbag2_tests_resources_sqlite3_cdr_test', 7),
        ('rosbag2_transport_test_resources_mcap_test_bag_for_seek', 5),
        ('ros2bag_test_resources_empty_bag', 0),
    ],
)
def test_bags_of_rosbag2_itself(data_dir: Path, name: str, count: int) -> None:
    with Bag(data_dir / 'bags' / 'rosbag2_resources' / name) as bag:
        messages = list(bag.messages())
    assert len(messages) == count
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bags_of_rosbag2_in_another_format(data_dir: Path, storage: str) -> None:
    name = f'rosbag2_tests_resources_{storage}_wrong_rmw_test'
    with Bag(data_dir / 'bags' / 'rosbag2_resources' / name) as bag:
        assert not bag.topics
        assert bag.unreadable
        assert all('wrong_format; expected cdr' in why for why in bag.unreadable.values())
        with pytest.raises(TinyBevError, match=r'no PointCloud2 topic; .*wrong_format; exp'):
            find_cloud_topic(bag)


def test_closing_removes_unpacked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / 'bag', {'/a': STRING}, compression=CompressionMode.FILE)
    unpacked = tmp_path / 'unpacked'
    unpacked.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(unpacked))
    with Bag(tmp_path / 'bag'):
        assert list(unpacked.iterdir())
    assert not list(unpacked.iterdir())


def test_copies_are_unpacked_into_a_given_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / 'bag', {'/a': STRING}, compression=CompressionMode.FILE)
    unpacked = tmp_path / 'unpacked'
    unpacked.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'absent'))
    with Bag(tmp_path / 'bag', unpacked):
        assert list(unpacked.iterdir())
    assert not list(unpacked.iterdir())
