# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reader of an .mcap file, with the recording times of its index."""

from __future__ import annotations

import copy
import struct
from collections.abc import Collection, Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, Schema, msgsrc, read_exact

# Encodings of definitions that rosbags parses; messages are read without definitions.
_DEFINITIONS = ('ros2msg', 'ros2idl', 'omgidl', '')
# Head of a MessageIndex record: opcode, bytes of the record, channel, bytes of its entries.
_INDEX_HEAD = struct.Struct('<BQHI')
_INDEX_OPCODE, _INDEX_FIXED_BYTES = 0x07, 6
# Heads of the records that hold messages: bytes of the record, channel, number in sequence, time
# of recording; and bytes of the record, first and last time of a chunk.
_MESSAGE_HEAD, _CHUNK_HEAD = struct.Struct('<QHIQ'), struct.Struct('<QQQ')
_MESSAGE_OPCODE, _CHUNK_OPCODE = 0x05, 0x06
_SIZE = struct.Struct('<Q')
# An entry is the time of recording and the position in the chunk, 8 bytes each.
_ENTRY_BYTES = 16


class _Schemas(dict[int, Schema]):
    """Definitions of message types; other encodings, such as JSON schemas, are dropped."""

    def __setitem__(self, key: int, schema: Schema) -> None:
        if schema.encoding not in _DEFINITIONS:
            schema = schema._replace(encoding='', data='')
        super().__setitem__(key, schema)


class _Records(NamedTuple):
    """Records with messages of a file without an index of chunks, in the order of the file.

    Attributes:
        begins, ends: (N,) int64 positions in the file.
        firsts, lasts: (N,) int64 first and last time of recording (ns).
        channels: (N,) int64 channel of a message; -1 for a chunk.
    """

    begins: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    channels: np.ndarray


class McapFile(McapReader):
    """Mcap reader of rosbags that also opens files with topics of other systems.

    Chunks without MessageIndex records, which rosbags leaves out, are read once on opening. The
    heads of the records of a file without an index of chunks are read once, when a part of it is.

    Args:
        path: path of the file.
    """

    path: Path

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.schemas = _Schemas()
        # Times by channel, by position of a chunk without MessageIndex records.
        self._scanned: dict[int, dict[int, np.ndarray]] = {}
        self._unindexed: _Records | None = None

    def open(self) -> None:
        """Opens the file and lists its topics."""
        super().open()
        try:
            self._scan_chunks()
        except BaseException:
            self.close()
            raise

    def times(self, connections: Collection[Connection]) -> np.ndarray:
        """Returns (N,) int64 recording times (ns) of messages, in the order of `messages`.

        They come from the index, or from the heads of the messages of a file without chunks.
        """
        if not self.chunks:
            return self._unindexed_times(connections)
        parts = [
            self._chunk_times(chunk, connection.id)
            for chunk in self.chunks
            for connection in connections
            if chunk.channel_count.get(connection.id)
        ]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    def messages(
        self,
        connections: Collection[Connection],
        start: int | None = None,
        stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Yields messages by time: connection, nanoseconds, serialized message.

        Args:
            connections: topics to read.
            start: earliest time; None for the first message.
            stop: end of the times, which is excluded; None for the last message.
        """
        if self.bio is None:
            raise ReaderError('The file is closed.')
        if self.chunks:
            yield from super().messages(connections, start, stop)
            return
        # A scan keeps its position in the file, so each one opens the file again.
        scan = copy.copy(self)
        if start is not None or stop is not None:
            scan.data_start, scan.data_end = self._part(start, stop)
        with self.path.open('rb') as scan.bio:
            yield from McapReader.messages(scan, connections, start, stop)

    def _unindexed_times(self, connections: Collection[Connection]) -> np.ndarray:
        records = self._records()
        if (records.channels < 0).any():  # the messages of chunks are read
            found = [time_ns for _, time_ns, _ in self.messages(connections)]
            return np.array(found, np.int64)
        wanted = np.isin(records.channels, [each.id for each in connections])
        times: np.ndarray = records.firsts[wanted]
        if (np.diff(times) < 0).any():
            raise ReaderError('Messages without an index are not in timestamp order.')
        return times

    def _part(self, start: int | None, stop: int | None) -> tuple[int, int]:
        """Returns the positions between which all messages of a range of times lie."""
        records = self._records()
        chosen: np.ndarray = np.ones(len(records.begins), np.bool_)
        if start is not None:
            chosen &= records.lasts >= start
        if stop is not None:
            chosen &= records.firsts < stop
        numbers = np.flatnonzero(chosen)
        if not len(numbers):
            return self.data_end, self.data_end
        return int(records.begins[numbers[0]]), int(records.ends[numbers[-1]])

    def _records(self) -> _Records:
        if self._unindexed is None:
            found = np.array(list(self._scan_records()), np.int64).reshape(-1, 5)
            self._unindexed = _Records(*found.T)
        return self._unindexed

    def _scan_records(self) -> Generator[tuple[int, int, int, int, int], None, None]:
        """Yields the fields of `_Records`, record by record; passes over the messages."""
        place = self.data_start
        with self.path.open('rb') as file:
            while place < self.data_end:
                file.seek(place)
                opcode = ord(read_exact(file, 1))
                channel = -1
                if opcode == _MESSAGE_OPCODE:
                    head = read_exact(file, _MESSAGE_HEAD.size)
                    size, channel, _, first = _MESSAGE_HEAD.unpack(head)
                    last = first
                elif opcode == _CHUNK_OPCODE:
                    size, first, last = _CHUNK_HEAD.unpack(read_exact(file, _CHUNK_HEAD.size))
                else:
                    (size,) = _SIZE.unpack(read_exact(file, _SIZE.size))
                end = place + 1 + _SIZE.size + size
                if opcode in (_MESSAGE_OPCODE, _CHUNK_OPCODE):
                    yield place, end, first, last, channel
                place = end

    def _scan_chunks(self) -> None:
        unindexed = [chunk for chunk in self.chunks if not chunk.message_index_offsets]
        if not unindexed:
            return
        assert self.bio
        by_id = {connection.id: connection for connection in self.connections}
        for chunk in unindexed:
            found: dict[int, list[int]] = {}
            for message in msgsrc(chunk, by_id, 0, 2**63, self.bio):
                if message.connection is not None:
                    found.setdefault(message.connection.id, []).append(message.timestamp)
            self._scanned[chunk.chunk_start_offset] = {
                number: np.array(times, np.int64) for number, times in found.items()
            }
            chunk.channel_count.update({number: len(times) for number, times in found.items()})
        # Without statistics rosbags counted the messages of the other chunks only.
        counts = {
            number: sum(chunk.channel_count.get(number, 0) for chunk in self.chunks)
            for number in by_id
        }
        self.connections = [
            each._replace(msgcount=max(each.msgcount, counts[each.id]))
            for each in self.connections
        ]

    def _chunk_times(self, chunk: ChunkInfo, channel: int) -> np.ndarray:
        if chunk.chunk_start_offset in self._scanned:
            return self._scanned[chunk.chunk_start_offset][channel]
        assert self.bio
        offset = chunk.message_index_offsets[channel]
        self.bio.seek(offset)
        opcode, size, number, length = _INDEX_HEAD.unpack(read_exact(self.bio, _INDEX_HEAD.size))
        if (
            opcode != _INDEX_OPCODE
            or number != channel
            or length % _ENTRY_BYTES
            or length + _INDEX_FIXED_BYTES > size
        ):
            raise ReaderError(f'No message index of channel {channel} at offset {offset}.')
        entries = np.frombuffer(read_exact(self.bio, length), '<u8')
        return entries[::2].astype(np.int64)
