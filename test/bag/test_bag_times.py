# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Recording times of topics, and parts of bags: by time and by number of the message."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import io
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_kinds import KINDS
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, storage_mcap
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag import mcap_file
from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, BagMessage
from tiny_bev_ros.errors import TinyBevError

MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
# Three messages share each time: rosbags' chunks of 1 MiB end after every fourth of /a.
TIMES = [10**18 + 1000 * (index // 3) for index in range(16)]
BYTES = 270_000
MAGIC = b'\x89MCAP0\r\n'


def write(
    path: Path,
    storage: StoragePlugin = MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    times: list[int] = TIMES,
) -> Path:
    """Writes a bag with large messages on /a and a small one on /b at each time."""
    noise = np.random.default_rng(3).bytes(BYTES)
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        store = get_typestore(Stores.ROS2_JAZZY)
        large, small = (
            writer.add_connection(name, CLOUD_TYPE, typestore=store) for name in ('/a', '/b')
        )
        for index, time_ns in enumerate(times):
            head = b'\0\1\0\0' + bytes([index])
            writer.write(large, time_ns, head + noise)
            writer.write(small, time_ns, head)
    return path


def file_of(bag: Path) -> Path:
    (file,) = (each for each in bag.iterdir() if each.suffix != '.yaml')
    return file


def in_two_files(tmp_path: Path, storage: StoragePlugin) -> Path:
    """Returns a bag in two files whose times overlap."""
    bag = write(tmp_path / 'bag', storage, times=TIMES[:9])
    second = write(tmp_path / 'second', storage, times=[time_ns - 2500 for time_ns in TIMES[9:]])
    path = file_of(second)
    path.rename(bag / path.name)
    information = yaml.safe_load((bag / 'metadata.yaml').read_text())
    inside = information['rosbag2_bagfile_information']
    inside['relative_file_paths'].append(path.name)
    for topic in inside['topics_with_message_count']:
        topic['message_count'] = len(TIMES)
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(information))
    return bag


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    stream = io.BytesIO(data[len(MAGIC) : -len(MAGIC)])
    while head := stream.read(9):
        opcode, size = struct.unpack('<BQ', head)
        yield opcode, stream.read(size)


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack('<BQ', opcode, len(content)) + content


def without_message_index(file: Path, statistics: bool = True) -> None:
    """Takes the MessageIndex records out of an mcap file, and out of its index of chunks."""
    body, summary, index = io.BytesIO(), io.BytesIO(), io.BytesIO()
    body.write(MAGIC)
    positions = []
    for opcode, content in records(file.read_bytes()):
        if opcode in (0x01, 0x06):
            if opcode == 0x06:
                positions.append((body.tell(), len(content) + 9))
            body.write(record(opcode, content))
        elif opcode in (0x03, 0x04) or (opcode == 0x0B and statistics):
            summary.write(record(opcode, content))
        elif opcode == 0x08:
            (length,) = struct.unpack_from('<I', content, 32)
            rest = content[36 + length + 8 :]
            position = struct.pack('<QQIQ', *positions[index.tell()], 0, 0)
            summary.write(record(0x08, content[:16] + position + rest))
            index.seek(index.tell() + 1)
    body.write(record(0x0F, bytes(4)))
    start = body.tell()
    body.write(summary.getvalue())
    body.write(record(0x02, struct.pack('<QQI', start, 0, 0)) + MAGIC)
    file.write_bytes(body.getvalue())


def without_index(file: Path) -> None:
    """Takes chunks and summary out of an mcap file, as a writer without chunks leaves it."""
    body = io.BytesIO()
    body.write(MAGIC)
    for opcode, content in records(file.read_bytes()):
        if opcode == 0x01:
            body.write(record(opcode, content))
        elif opcode == 0x06:
            (length,) = struct.unpack_from('<I', content, 28)
            body.write(content[32 + length + 8 :])
    body.write(record(0x0F, bytes(4)) + record(0x02, bytes(20)) + MAGIC)
    file.write_bytes(body.getvalue())


def check(path: Path) -> None:
    """Checks that times, ranges of time and slices of a bag agree with its whole content."""
    with Bag(path) as bag:
        for topic in ('/a', 'b'):
            whole = list(bag.messages([topic]))
            times = bag.times(topic)
            assert times.dtype == np.int64
            assert times.tolist() == [message.time_ns for message in whole]
            for first, count in ((0, 16), (0, 1), (1, 4), (4, 3), (5, 1), (8, 3), (15, 1), (7, 0)):
                assert list(bag.slice(topic, first, count)) == whole[first : first + count]
        every = list(bag.messages())
        for start, stop in ((0, 3000), (1000, 1001), (1001, 2000), (2000, None), (None, 4000)):
            begin, end = (limit and 10**18 + limit for limit in (start, stop))
            assert list(bag.messages((), begin, end)) == [
                message
                for message in every
                if (begin is None or begin <= message.time_ns)
                and (end is None or message.time_ns < end)
            ]


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_parts_agree_with_the_whole(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    check(write(tmp_path / 'bag', storage, compression))


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_parts_of_several_files_with_overlapping_times(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    path = in_two_files(tmp_path, storage)
    with Bag(path) as bag:
        assert (np.diff(bag.times('/a')) < 0).any()
    check(path)


@pytest.mark.parametrize('folder', [True, False])
@pytest.mark.parametrize('statistics', [True, False])
def test_chunks_without_a_message_index(tmp_path: Path, statistics: bool, folder: bool) -> None:
    path = write(tmp_path / 'bag')
    without_message_index(file_of(path), statistics)
    check(path if folder else file_of(path))


def test_a_file_without_any_index(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag')
    without_index(file_of(path))
    check(path)
    with Bag(path) as bag:
        # Two iterators at once do not disturb each other.
        both = list(zip(bag.messages(['/b']), bag.messages(['/b']), strict=True))
        assert len(both) == len(TIMES)
        assert all(first == second for first, second in both)


def test_parts_of_a_file_without_chunks_are_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte of the messages is read once by successive slices, and none by `times`."""
    path = write(tmp_path / 'bag', times=list(range(10**18, 10**18 + 40)))
    without_index(file_of(path))
    read = []
    read_exact = storage_mcap.read_exact

    def counted(file: io.BufferedReader, size: int) -> bytes:
        read.append(size)
        return read_exact(file, size)

    with Bag(path) as bag:
        for module in (storage_mcap, mcap_file):
            monkeypatch.setattr(module, 'read_exact', counted)
        assert len(bag.times('/a')) == 40
        assert sum(read) < 10_000
        read.clear()
        for first in range(40):
            assert len(list(bag.slice('/a', first, 1))) == 1
        assert sum(read) < 41 * BYTES


def test_times_of_a_file_without_chunks_are_in_order_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', times=[10**18, 10**18 + 2, 10**18 + 4])
    without_index(file_of(path))
    data = file_of(path).read_bytes()
    late = struct.pack('<QQ', 10**18 + 2, 10**18 + 2)
    data = data.replace(late, struct.pack('<QQ', 10**18 + 9, 10**18 + 9))
    file_of(path).write_bytes(data)
    with Bag(path) as bag, pytest.raises(TinyBevError, match='not in timestamp order'):
        bag.times('/a')


def test_no_chunk_is_read_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    decompress = storage_mcap.decompress

    def counted(*words: object) -> bytes:
        read.append(words)
        return decompress(*words)

    monkeypatch.setattr(storage_mcap, 'decompress', counted)
    with Bag(write(tmp_path / 'bag')) as bag:
        assert len(bag.times('/a')) == len(TIMES)
        assert not read
        list(bag.slice('/a', 0, 3))
        assert len(read) == 1
        read.clear()
        list(bag.messages(['/a'], TIMES[-1], None))
        assert len(read) == 1


@pytest.mark.parametrize(
    ('first', 'count'), [(-1, 2), (0, 17), (16, 1), (3, -1), (-3, 0), (100, 100)]
)
def test_a_slice_beyond_the_bag_is_refused_at_once(tmp_path: Path, first: int, count: int) -> None:
    with (
        Bag(write(tmp_path / 'bag', SQLITE)) as bag,
        pytest.raises(TinyBevError, match=r'slice of /a is .*; expected 0 to 16'),
    ):
        bag.slice('a', first, count)


def test_topics_are_checked(tmp_path: Path) -> None:
    with Bag(write(tmp_path / 'bag', SQLITE)) as bag:
        for call in (lambda: bag.times('/x'), lambda: bag.slice('/x', 0, 0)):
            with pytest.raises(TinyBevError, match=r'topic is /x; .* has /a, /b'):
                call()
        # A caller may change the array.
        bag.times('/a')[:] = 0
        assert bag.times('/a').tolist() == TIMES


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_metadata_that_says_more_than_the_index(tmp_path: Path, storage: StoragePlugin) -> None:
    path = write(tmp_path / 'bag', storage)
    metadata = path / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('message_count: 16', 'message_count: 18'))
    with Bag(path) as bag:
        for call in (lambda: bag.times('/a'), lambda: bag.messages(['/a'], None, TIMES[5])):
            with pytest.raises(TinyBevError, match='holds 16 messages; its index says 18'):
                call()


def shift_index(file: Path, entries: int, shift: int) -> None:
    """Changes the times of the first entries of the first MessageIndex record of /a."""
    data = bytearray(file.read_bytes())
    position = len(MAGIC)
    while data[position] != 0x07:
        position += 9 + struct.unpack_from('<Q', data, position + 1)[0]
    for entry in range(entries):
        (time_ns,) = struct.unpack_from('<Q', data, position + 15 + 16 * entry)
        struct.pack_into('<Q', data, position + 15 + 16 * entry, time_ns + shift)
    file.write_bytes(data)


def read_slices(path: Path) -> list[BagMessage]:
    with Bag(path) as bag:
        return [m for k in range(0, 16, 4) for m in bag.slice('/a', k, 4)]


def test_an_index_of_other_times_than_the_messages(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag')
    assert len(read_slices(path)) == 16
    shift_index(file_of(path), 1, 5)
    with pytest.raises(TinyBevError, match=r'cannot be read: a message has the time .*000 ns'):
        read_slices(path)


def test_a_part_with_fewer_messages_than_the_index_says(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag')
    shift_index(file_of(path), 3, -(10**17))
    with Bag(path) as bag:
        with pytest.raises(TinyBevError, match='holds 0 messages; its index says 3'):
            list(bag.messages(['/a'], None, TIMES[0] - 5))
        with pytest.raises(TinyBevError, match='holds 0 messages; its index says 2'):
            list(bag.slice('/a', 0, 2))


def test_a_damaged_message_index(tmp_path: Path) -> None:
    file = file_of(write(tmp_path / 'bag'))
    whole = file.read_bytes()
    position = len(MAGIC)
    while whole[position] != 0x07:
        position += 9 + struct.unpack_from('<Q', whole, position + 1)[0]
    for offset in (0, 9, 11, 13):
        data = bytearray(whole)
        data[position + offset] ^= 0x55
        file.write_bytes(data)
        with (
            Bag(file) as bag,
            pytest.raises(TinyBevError, match='cannot be read: No message index of channel'),
        ):
            bag.times('/a')


def test_a_closed_bag_is_not_read(tmp_path: Path) -> None:
    with Bag(write(tmp_path / 'bag')) as bag:
        pass
    file = mcap_file.McapFile(file_of(tmp_path / 'bag'))
    with pytest.raises(Exception, match='closed'):
        next(file.messages([]))
    assert bag.path == tmp_path / 'bag'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_runs_of_a_bag_of_rosbag2_in_five_files(data_dir: Path, storage: str) -> None:
    name = f'rosbag2_py_test_resources_{storage}_wbag'
    with Bag(data_dir / 'bags' / 'rosbag2_resources' / name) as bag:
        for topic in bag.topics.values():
            whole = list(bag.messages([topic.name]))
            assert bag.times(topic.name).tolist() == [message.time_ns for message in whole]
            borders = [*range(0, len(whole), 256), len(whole)]
            read = [
                message
                for first, last in pairwise(borders)
                for message in bag.slice(topic.name, first, last - first)
            ]
            assert read == whole
