# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of bags whose recorder was killed: all messages are read, or a file is named."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag
from tiny_bev_ros.bag.sqlite_file import SqliteFile
from tiny_bev_ros.errors import TinyBevError

POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 24178\n'


def write(path: Path, storage: StoragePlugin, count: int = 5) -> Path:
    """Writes a bag; returns its file."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        store = get_typestore(Stores.ROS2_JAZZY)
        connection = writer.add_connection('/points', CLOUD_TYPE, typestore=store)
        for index in range(count):
            writer.write(connection, 10**18 + index, data(index))
    (file,) = (each for each in path.iterdir() if each.suffix != '.yaml')
    return file


def data(index: int) -> bytes:
    return b'\x00\x01\x00\x00' + bytes([index]) * 3000


def killed(tmp_path: Path, mode: str) -> Path:
    """Returns the file of a killed recorder: 5 messages, and 15 in the log of a journal mode."""
    file = write(tmp_path / 'whole', StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(file)) as database:
        database.execute(f'PRAGMA journal_mode={mode}')
        database.execute('PRAGMA wal_autocheckpoint=0')
        # Pages go to the file before the end of the transaction.
        database.execute('PRAGMA cache_size=5')
        database.executemany(
            'INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)',
            [(10**18 + index, data(index)) for index in range(5, 20)],
        )
        if mode == 'WAL':
            database.commit()
        shutil.copytree(tmp_path / 'whole', tmp_path / 'bag')
    return tmp_path / 'bag' / file.name


def read(path: Path) -> list[bytes]:
    with Bag(path) as bag:
        messages = [message.data for message in bag.messages()]
        assert bag.topics['/points'].count == len(messages)
        return messages


def test_messages_in_a_write_ahead_log_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = killed(tmp_path, 'WAL')
    before = {each: each.read_bytes() for each in file.parent.iterdir()}
    assert file.with_name(f'{file.name}-wal') in before
    copies = tmp_path / 'copies'
    copies.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(copies))
    for path in (file, file.parent):
        assert read(path) == [data(index) for index in range(20)]
        with Bag(path) as bag:
            assert 'the messages in it are read as well' in bag.remarks[0]
    with Bag(file.parent) as bag:
        assert bag.remarks[1] == 'metadata.yaml says 5 messages; the files hold 20'
    assert {each: each.read_bytes() for each in file.parent.iterdir()} == before
    assert not list(copies.iterdir())


def test_a_log_is_copied_into_a_given_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = killed(tmp_path, 'WAL')
    copies = tmp_path / 'copies'
    copies.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'absent'))
    with Bag(file, copies) as bag:
        assert list(copies.iterdir())
        assert bag.topics['/points'].count == 20
    assert not list(copies.iterdir())


def test_a_damaged_write_ahead_log_is_named(tmp_path: Path) -> None:
    file = killed(tmp_path, 'WAL')
    log = file.with_name(f'{file.name}-wal')
    content = bytearray(log.read_bytes())
    content[:4] = b'gone'
    log.write_bytes(content)
    with pytest.raises(TinyBevError, match=f'{log.name} is damaged or of another recording'):
        Bag(file.parent)


def test_a_log_without_space_for_its_copy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = killed(tmp_path, 'WAL')

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfile', full)
    with pytest.raises(TinyBevError, match=f'{file.name}-wal holds .* No space left'):
        Bag(file)


def test_a_running_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = killed(tmp_path, 'WAL')
    copy = shutil.copyfile

    def copy_and_append(source: Path, to: Path) -> None:
        copy(source, to)
        with file.open('ab') as more:
            more.write(b'more')

    monkeypatch.setattr(shutil, 'copyfile', copy_and_append)
    with pytest.raises(TinyBevError, match=f'{file.name} is being written; expected a rec'):
        Bag(file)


def test_an_unfinished_transaction_is_undone(tmp_path: Path) -> None:
    file = killed(tmp_path, 'DELETE')
    assert file.with_name(f'{file.name}-journal').stat().st_size > 0
    assert read(file.parent) == [data(index) for index in range(5)]
    with Bag(file) as bag:
        assert 'its last transaction is undone' in bag.remarks[0]


def test_an_obsolete_journal_is_no_remark(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3)
    file.with_name(f'{file.name}-journal').write_bytes(bytes(512))
    with Bag(file) as bag:
        assert len(list(bag.messages())) == 5
        assert bag.remarks == []


def test_special_characters_in_file_names(tmp_path: Path) -> None:
    folder = tmp_path / 'a bag #1, 50%25?'
    file = folder / write(tmp_path / 'bag', StoragePlugin.SQLITE3).name
    (tmp_path / 'bag').rename(folder)
    assert len(read(file)) == len(read(file.parent)) == 5


def test_a_file_that_was_in_write_ahead_mode_is_read_without_writing(tmp_path: Path) -> None:
    """SQLite would put files beside such a file, which a read-only folder does not allow."""
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(file)) as database:
        database.execute('PRAGMA journal_mode=WAL')
    before = sorted(file.parent.iterdir())
    with Bag(file) as bag:
        assert len(list(bag.messages())) == 5
        assert sorted(file.parent.iterdir()) == before


def test_messages_of_no_topic_are_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(file)) as database:
        database.execute('UPDATE messages SET topic_id = 7 WHERE id > 3')
        database.commit()
    with pytest.raises(TinyBevError, match=f'{file.name} holds 2 messages of topics that it'):
        Bag(file.parent)


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_metadata_of_the_beginning_loses_no_message(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    file = write(tmp_path / 'bag', storage)
    metadata = file.with_name('metadata.yaml')
    text = metadata.read_text()
    metadata.write_text(text.replace('message_count: 5', 'message_count: 0'))
    assert len(read(file.parent)) == 5
    with Bag(file.parent) as bag:
        assert bag.remarks == ['metadata.yaml says 0 messages; the files hold 5']
    # Metadata of a recorder that had not discovered the topic yet.
    begin = text.index('  topics_with_message_count:')
    end = text.index('  compression_format')
    metadata.write_text(f'{text[:begin]}  topics_with_message_count: []\n{text[end:]}')
    assert len(read(file.parent)) == 5


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_folder_without_metadata_names_its_files(tmp_path: Path, storage: StoragePlugin) -> None:
    file = write(tmp_path / 'bag', storage)
    file.with_name('metadata.yaml').unlink()
    with pytest.raises(TinyBevError, match=f'ros2 bag reindex .*, or one of {file.name}'):
        Bag(file.parent)


@pytest.mark.parametrize('ordered', [True, False])
def test_a_file_without_summary_is_read_or_named(tmp_path: Path, ordered: bool) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.MCAP)
    content = file.read_bytes()
    footer = content[-37:]
    (summary,) = struct.unpack('<Q', footer[9:17])
    content = content[:summary] + footer[:9] + bytes(20) + footer[29:]
    if not ordered:
        first, last = (struct.pack('<QQ', time, time) for time in (10**18, 10**18 + 4))
        assert content.count(first) == 1
        content = content.replace(first, last)
    file.write_bytes(content)
    for path in (file, file.parent):
        if ordered:
            assert read(path) == [data(index) for index in range(5)]
        else:
            with pytest.raises(
                TinyBevError, match=r'bag\.mcap cannot be read: .* not in timestamp'
            ):
                read(path)


def test_files_that_the_metadata_does_not_list_are_a_remark(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.MCAP)
    shutil.copyfile(file, file.with_name('bag_1.mcap'))
    with Bag(file.parent) as bag:
        assert bag.remarks == ['bag_1.mcap: not listed in metadata.yaml, not read']


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_cut_file_is_named(tmp_path: Path, storage: StoragePlugin) -> None:
    file = write(tmp_path / 'bag', storage)
    file.write_bytes(file.read_bytes()[: -len(file.read_bytes()) // 3])
    with pytest.raises(TinyBevError, match=f'{file.name} cannot be read'), Bag(file.parent) as bag:
        list(bag.messages())


@pytest.mark.parametrize('name', ['bag.mcap', 'metadata.yaml'])
def test_files_that_were_not_downloaded_are_an_error(tmp_path: Path, name: str) -> None:
    write(tmp_path / 'bag', StoragePlugin.MCAP)
    (tmp_path / 'bag' / name).write_text(POINTER)
    for path in {tmp_path / 'bag', tmp_path / 'bag' / name} - {tmp_path / 'bag/metadata.yaml'}:
        with pytest.raises(TinyBevError, match=f'{name} is a Git LFS pointer'):
            Bag(path)


def test_a_closed_file_is_gone(tmp_path: Path) -> None:
    file = SqliteFile(write(tmp_path / 'bag', StoragePlugin.SQLITE3))
    file.open()
    file.close()
    with pytest.raises(sqlite3.ProgrammingError, match='closed'):
        list(file.messages(file.connections))
