# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Storage files of a rosbag2: found, unpacked and opened."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import yaml
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
)
from rosbags.rosbag2.metadata import parse_qos

from tiny_bev_ros.bag.mcap_file import McapFile
from tiny_bev_ros.bag.sqlite_file import NO_DEFINITION, SqliteFile
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.git_lfs import refuse_lfs_pointer
from tiny_bev_ros.text_file import read_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

METADATA = 'metadata.yaml'
EXPECTED = 'expected a rosbag2 folder, .mcap or .db3 file'
_ENDINGS = {'.mcap': 'mcap', '.db3': 'sqlite3'}
_NEWEST_VERSION = 9

Message = tuple[Connection, int, bytes]


class _Storage(Protocol):
    """Open storage file."""

    connections: list[Connection]

    def open(self) -> None: ...

    def close(self) -> None: ...

    def times(self, connections: Collection[Connection]) -> np.ndarray: ...

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[Message]: ...


@dataclass
class BagFiles:
    """Open files of one bag.

    Attributes:
        paths: files in the order of recording.
        storages: reader of each file.
        promised: topics that metadata.yaml lists; empty for a bag without it.
        remarks: lines about irregularities.
        compressed_messages: True if each message is compressed by itself.
        scratch: folder of unpacked copies; None for the temporary folder of the system.
    """

    paths: list[Path] = field(default_factory=list)
    storages: list[_Storage] = field(default_factory=list)
    promised: list[Connection] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    compressed_messages: bool = False
    scratch: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def connections(self) -> list[Connection]:
        """Topics that the files list, file by file."""
        return [each for storage in self.storages for each in storage.connections]

    def times(self, connections: list[Connection]) -> list[np.ndarray]:
        """Returns by file the sorted recording times (N,) int64 (ns) of some connections."""
        found = []
        for path, storage in zip(self.paths, self.storages, strict=True):
            selected = [each for each in storage.connections if each in connections]
            try:
                found.append(storage.times(selected) if selected else np.empty(0, np.int64))
            except Exception as error:
                raise unreadable(path, error) from error
        return found

    def messages(
        self,
        connections: list[Connection],
        start: int | None = None,
        stop: int | None = None,
        file: int | None = None,
    ) -> Iterator[Message]:
        """Yields messages of some connections, file by file.

        Args:
            connections: topics to read.
            start: earliest time (ns); None for the first message.
            stop: end of the times (ns), which is excluded; None for the last message.
            file: number of the only file to read; None for all.
        """
        for number, (path, storage) in enumerate(zip(self.paths, self.storages, strict=True)):
            selected = [each for each in storage.connections if each in connections]
            if not selected or file not in (None, number):
                continue
            try:
                for connection, time_ns, data in storage.messages(selected, start, stop):
                    if self.compressed_messages:
                        data = zstd.decompress(data)  # noqa: PLW2901
                    yield connection, time_ns, data
            except Exception as error:
                raise unreadable(path, error) from error

    def slice(
        self, connections: list[Connection], times: list[np.ndarray], first: int, count: int
    ) -> Iterator[Message]:
        """Yields successive messages of some connections.

        Args:
            connections: topics to read.
            times: result of `times` for them.
            first: number of the first message, over all files.
            count: number of messages.

        Raises:
            TinyBevError: a file is damaged, or holds a message of another time than ``times``.
        """
        for file, path in enumerate(self.paths):
            begin, end = max(first, 0), min(first + count, len(times[file]))
            first -= len(times[file])
            if begin >= end:
                continue
            expected = times[file][begin:end].tolist()
            # Messages of the first time may lie before the slice, and of the last one behind it.
            before = begin - int(np.searchsorted(times[file], expected[0]))
            found = self.messages(connections, expected[0], expected[-1] + 1, file)
            for time_ns, message in zip(expected, islice(found, before, None), strict=False):
                if message[1] != time_ns:
                    raise TinyBevError(
                        f'{path} cannot be read: a message has the time {message[1]} ns; its '
                        f'index says {time_ns} ns'
                    )
                yield message

    def close(self) -> None:
        """Closes the files and removes unpacked copies."""
        self._stack.close()

    def add(self, path: Path, kind: str, compressed: bool = False) -> None:
        """Opens one more file, of a storage plugin's kind."""
        refuse_lfs_pointer(path)
        plain = self._unpacked(path) if compressed else path
        storage: Any = McapFile(plain) if kind == 'mcap' else SqliteFile(plain, self.scratch)
        try:
            storage.open()
        except TinyBevError:
            raise
        except Exception as error:
            raise unreadable(path, error) from error
        self._stack.callback(storage.close)
        self.paths.append(path)
        self.storages.append(storage)
        if remark := getattr(storage, 'remark', ''):
            self.remarks.append(remark)

    def _unpacked(self, path: Path) -> Path:
        """Unpacks a compressed file into a temporary copy."""
        folder = self._stack.enter_context(TemporaryDirectory(prefix='bag_', dir=self.scratch))
        copy = Path(folder, path.stem)
        try:
            with zstd.open(path, 'rb') as packed, copy.open('wb') as file:
                shutil.copyfileobj(packed, file)
        except (OSError, EOFError, zstd.ZstdError) as error:
            raise TinyBevError(f'{path} cannot be unpacked: {message_of(error)}') from error
        return copy


def open_files(path: Path, scratch: Path | None = None) -> BagFiles:
    """Opens a bag: a folder with metadata.yaml, or one file.

    Args:
        path: path of the bag.
        scratch: folder of unpacked copies; None for the temporary folder of the system.

    Raises:
        TinyBevError: the bag does not exist, a file is missing or damaged, or the storage is
            unknown.
    """
    if not path.exists():
        raise TinyBevError(f'bag is {path}, which does not exist; {EXPECTED}')
    files = BagFiles(scratch=scratch)
    try:
        if path.is_dir():
            _open_folder(path, files)
        elif path.suffix in _ENDINGS:
            files.add(path, _ENDINGS[path.suffix])
        else:
            raise TinyBevError(f'bag is {path}; {EXPECTED}')
    except BaseException:
        files.close()
        raise
    return files


def unreadable(path: Path, error: Exception) -> TinyBevError:
    """Returns an error that names the file which raised another error.

    Besides ReaderError of rosbags, struct, zstd, SQLite and others raise their own.
    """
    return TinyBevError(f'{path} cannot be read: {message_of(error)}')


def message_of(error: Exception) -> str:
    """Returns the message of an error without line breaks."""
    return ' '.join(str(error).split()) or type(error).__name__


def _open_folder(folder: Path, files: BagFiles) -> None:
    recordings = sorted(path for path in folder.iterdir() if _is_recording(path))
    if not (folder / METADATA).exists():
        if not recordings:
            raise TinyBevError(f'bag is {folder}, a folder without {METADATA}; {EXPECTED}')
        raise TinyBevError(
            f'bag is {folder}, a folder without {METADATA}, as of a recorder that was killed; '
            f'expected that file, as `ros2 bag reindex {folder}` makes it, or one of '
            f'{", ".join(path.name for path in recordings)}'
        )
    information = _information(folder / METADATA)
    try:
        version, kind = information['version'], information['storage_identifier']
        mode = (information.get('compression_mode') or 'none').lower()
        form = information.get('compression_format') or ''
        names = [PurePath(name).name for name in information['relative_file_paths']]
        promised = [_promised(each) for each in information['topics_with_message_count']]
    except Exception as error:  # a malformed file may raise anything
        reason = f'no {error}' if isinstance(error, KeyError) else message_of(error)
        raise TinyBevError(f'{folder / METADATA} cannot be read: {reason}') from error
    if version > _NEWEST_VERSION:
        raise TinyBevError(
            f'bag {folder} is of version {version}; expected at most {_NEWEST_VERSION}'
        )
    if kind not in _ENDINGS.values():
        raise TinyBevError(f'storage of bag {folder} is {kind!r}; expected mcap or sqlite3')
    if mode not in ('none', 'file', 'message', 'storage') or (
        mode in ('file', 'message') and form != 'zstd'
    ):
        raise TinyBevError(f'bag {folder} is compressed by {mode} with {form!r}; expected zstd')
    if missing := [name for name in names if not (folder / name).exists()]:
        raise TinyBevError(
            f'bag {folder} cannot be read: files are missing: {", ".join(missing)}; '
            f'expected all that {METADATA} lists'
        )
    for name in names:
        files.add(folder / name, kind, compressed=mode == 'file')
    files.promised = promised
    files.compressed_messages = mode == 'message'
    if unread := [path.name for path in recordings if path.name not in names]:
        files.remarks.append(f'{", ".join(unread)}: not listed in {METADATA}, not read')


def _is_recording(path: Path) -> bool:
    name = path.name.removesuffix('.zstd')
    return path.is_file() and PurePath(name).suffix in _ENDINGS


def _information(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise TinyBevError(f'{path} cannot be read: {message_of(error)}') from None
    name = 'rosbag2_bagfile_information'
    if not isinstance(loaded, dict) or not isinstance(loaded.get(name), dict):
        raise TinyBevError(f'{path} cannot be read: it has no {name}')
    return loaded[name]


def _promised(each: dict[str, Any]) -> Connection:
    topic = each['topic_metadata']
    qos = parse_qos(topic.get('offered_qos_profiles', []))
    extension = ConnectionExtRosbag2(topic['serialization_format'], qos)
    count = int(each['message_count'])
    return Connection(0, topic['name'], topic['type'], NO_DEFINITION, '', count, extension, None)
