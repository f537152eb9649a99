# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reader of a .db3 file of a rosbag2 and of the write-ahead log beside it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2.metadata import parse_qos

from tiny_bev_ros.errors import TinyBevError

# Suffixes of the write-ahead log and of the rollback journal.
_LOG, _JOURNAL = '-wal', '-journal'
_LOG_HEADER_BYTES = 32
_JOURNAL_BEGIN = bytes.fromhex('d9d505f920a163d7')
# Messages are read without definitions.
NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, '')


class SqliteFile:
    """Reader of a .db3 file with the interface of rosbags, including a write-ahead log.

    Nothing is written beside the file: with a log, a temporary copy of both is read.

    Args:
        path: path of the file.
        scratch: folder of such a copy; None for the temporary folder of the system.

    Attributes:
        connections: recorded topics with their numbers of messages.
        remark: '' or a line about an irregularity of the file.
    """

    def __init__(self, path: Path, scratch: Path | None = None) -> None:
        self.path = path
        self._scratch = scratch
        self.connections: list[Connection] = []
        self.remark = ''
        self._stack = ExitStack()

    def open(self) -> None:
        """Opens the file and lists its topics."""
        with self._stack:
            beside = self._beside()
            # Without a log the file is opened immutable, which works in read-only folders.
            path, mode = self.path, 'mode=ro&immutable=1'
            if beside:
                path, mode = self._copied(beside), 'mode=rw'
            self._database = sqlite3.connect(
                f'{path.absolute().as_uri()}?{mode}', uri=True, check_same_thread=False
            )
            self._stack.callback(self._database.close)
            for file in beside:
                self._recover(file)
            self.connections = self._read_connections()
            self._stack = self._stack.pop_all()

    def close(self) -> None:
        """Closes the file, and removes its copy."""
        self._stack.close()

    def times(self, connections: Collection[Connection]) -> np.ndarray:
        """Returns (N,) int64 recording times (ns) of messages, in the order of `messages`."""
        rows = self._select('timestamp', [connection.id for connection in connections])
        return np.fromiter((time_ns for (time_ns,) in rows), np.int64)

    def messages(
        self,
        connections: Collection[Connection],
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yields messages by time: connection, nanoseconds, serialized message.

        Args:
            connections: topics to read.
            start: earliest time; None for the first message.
            stop: end of the times, which is excluded; None for the last message.
        """
        by_id = {connection.id: connection for connection in connections}
        rows = self._select('topic_id, timestamp, data', list(by_id), start, stop)
        for number, time_ns, data in rows:
            yield by_id[number], time_ns, data

    def _select(
        self, columns: str, topics: list[int], start: int | None = None, stop: int | None = None
    ) -> sqlite3.Cursor:
        conditions = [f'topic_id IN ({",".join("?" * len(topics))})']
        values = list(topics)
        for condition, time_ns in (('timestamp >= ?', start), ('timestamp < ?', stop)):
            if time_ns is not None:
                conditions.append(condition)
                values.append(time_ns)
        # Messages of one time come in the order of recording, whatever the range.
        query = (
            f'SELECT {columns} FROM messages WHERE {" AND ".join(conditions)} '  # noqa: S608
            'ORDER BY timestamp, rowid'
        )
        return self._database.execute(query, values)

    def _beside(self) -> list[Path]:
        log, journal = (
            self.path.with_name(self.path.name + ending) for ending in (_LOG, _JOURNAL)
        )
        found = [log] if log.exists() and log.stat().st_size else []
        if journal.exists():
            with journal.open('rb') as file:
                # A finished journal may remain, with zeros at its beginning.
                if file.read(len(_JOURNAL_BEGIN)) == _JOURNAL_BEGIN:
                    found.append(journal)
        return found

    def _copied(self, beside: list[Path]) -> Path:
        copy = TemporaryDirectory(prefix='bag_', dir=self._scratch)
        folder = Path(self._stack.enter_context(copy))
        files = [self.path, *beside]
        before = [_state(file) for file in files]
        try:
            for file in files:
                shutil.copyfile(file, folder / file.name)
        except OSError as error:
            raise TinyBevError(
                f'{beside[0]} holds messages that are not in {self.path.name}, and a copy to read '
                f'both cannot be made: {error}; expected room in {folder.parent}, or run '
                f"`sqlite3 {self.path.name} 'PRAGMA wal_checkpoint(TRUNCATE)'`"
            ) from None
        if [_state(file) for file in files] != before:
            raise TinyBevError(
                f'{self.path} is being written; expected a recording that has ended'
            )
        return folder / self.path.name

    def _recover(self, beside: Path) -> None:
        if beside.name.endswith(_JOURNAL):
            self.remark = (
                f'{beside.name}: the recording was not ended; its last transaction is undone'
            )
            return
        _, pages, _ = self._database.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchone()
        if pages <= 0 and beside.stat().st_size > _LOG_HEADER_BYTES:
            raise TinyBevError(
                f'{beside} is damaged or of another recording; expected the write-ahead log of '
                f'{self.path.name}, or none'
            )
        self.remark = (
            f'{beside.name}: the recording was not ended; the messages in it are read as well'
        )

    def _read_connections(self) -> list[Connection]:
        columns = {row[1] for row in self._database.execute('PRAGMA table_info(topics)')}
        qos = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
        counts = dict(
            self._database.execute('SELECT topic_id, count(*) FROM messages GROUP BY topic_id')
        )
        topics = self._database.execute(
            f'SELECT id, name, type, serialization_format, {qos} FROM topics ORDER BY id'  # noqa: S608
        )
        found = [
            Connection(
                number,
                name,
                kind,
                NO_DEFINITION,
                '',
                counts.pop(number, 0),
                ConnectionExtRosbag2(form, parse_qos(profiles)),
                self,
            )
            for number, name, kind, form, profiles in topics
        ]
        if counts:
            raise TinyBevError(
                f'{self.path} holds {sum(counts.values())} messages of topics that it does not '
                'name; expected a topic for each'
            )
        return found


def _state(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns
