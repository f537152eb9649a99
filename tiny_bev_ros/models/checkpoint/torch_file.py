# SPDX-License-Identifier: Apache-2.0
"""Tensors from files of torch.save, without running anything that is in them.

Such a file is a pickle, which names functions to call. Here no name is ever looked up: each one
becomes an inert stand-in, those of plain tensors are rebuilt, and what else a trainer left beside
the weights (NumPy scalars, options, log buffers) stays unread. torch.load(weights_only=True)
refuses whole files for that, and what it may call is a setting of the whole process.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tiny_bev_ros.models.checkpoint.inert_pickle import (
    DICTS,
    STORAGES,
    Described,
    Storage,
    Unpickler,
    Unread,
)

# The number with which files of torch.save began before PyTorch 1.6, and their version.
_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_VERSION = 1001
# Names by which torch itself keeps tensors: no loss where they are not read.
_OWN = re.compile(
    r'torch\.(\w*Storage|Size|device|storage\..*|_utils\..*|_tensor\..*|nn\.parameter\..*)'
)


class TorchFile:
    """Content of a file of torch.save.

    Attributes:
        content: dicts, lists and plain values; Described for tensors, Unread for the rest.
        unread: names of all that stays unread, sorted.
    """

    def __init__(self, bytes_: bytes) -> None:
        """Reads all but the numbers.

        Raises:
            ValueError: it is not a file of torch.save, or is cut off; many other errors for
                other wrong bytes.
        """
        self._names: set[str] = set()
        self._kept: dict[str, Tensor] = {}
        self._storage_bytes: Callable[[str], bytes]
        if bytes_.startswith(b'PK'):
            self.content = self._read_zip(bytes_)
        else:
            self.content = self._read_old(bytes_)
        self.unread = sorted(name for name in self._names if not _is_plumbing(name))

    def tensor(self, described: Described) -> Tensor | Unread:
        """The tensor, on the CPU; those that share numbers in the file share them here."""
        storage, dtype = described.storage, described.dtype
        if dtype is None:
            return Unread(described.type_name)
        if storage.key not in self._kept:
            data = bytearray(self._storage_bytes(storage.key))
            empty = torch.empty(0, dtype=torch.uint8)
            self._kept[storage.key] = torch.frombuffer(data, dtype=torch.uint8) if data else empty
        bytes_ = self._kept[storage.key]
        numbers = bytes_[: len(bytes_) // dtype.itemsize * dtype.itemsize].view(dtype)
        offset = storage.start + described.offset
        return torch.as_strided(numbers, described.size, described.stride, offset)

    def _read_zip(self, bytes_: bytes) -> Any:
        archive = zipfile.ZipFile(io.BytesIO(bytes_))
        names = set(archive.namelist())
        pickles = [name for name in names if name.count('/') == 1 and name.endswith('/data.pkl')]
        if len(pickles) != 1:
            raise ValueError('it is a zip archive of something else')
        folder = pickles[0].removesuffix('data.pkl')
        if f'{folder}constants.pkl' in names:
            raise ValueError('it is a TorchScript program')
        order = f'{folder}byteorder'
        if order in names and archive.read(order) != b'little':
            raise ValueError('its numbers are big-endian')
        self._storage_bytes = lambda key: archive.read(f'{folder}data/{key}')
        return self._unpickle(io.BytesIO(archive.read(pickles[0])), _storage)

    def _read_old(self, bytes_: bytes) -> Any:
        file = io.BytesIO(bytes_)
        if self._unpickle(file) != _MAGIC:
            raise ValueError('it is a pickle, but none of torch.save')
        if self._unpickle(file) != _OLD_VERSION:
            raise ValueError('it is of an unknown version of torch.save')
        self._unpickle(file)  # of the machine: its byte order, but numbers are little-endian
        storages: dict[str, tuple[Unread, int]] = {}

        def found(saved: Any) -> Any:
            if saved[0] == 'module':  # (.., class, source file, source)
                return saved[1]
            _, kind, key, _, count, view = saved
            storages[key] = kind, count
            return Storage(kind, key, view[1] if view else 0)

        content = self._unpickle(file, found)
        datas: dict[str, bytes] = {}
        for key in self._unpickle(file):
            kind, expected = storages[key]
            (count,) = struct.unpack('<q', file.read(8))
            dtype = STORAGES[kind.name.rpartition('.')[2]]
            wanted = count * dtype.itemsize
            datas[key] = file.read(max(wanted, 0))
            if count != expected or len(datas[key]) != wanted:
                raise EOFError('it is cut off')
        self._storage_bytes = datas.__getitem__
        return content

    def _unpickle(self, file: io.BytesIO, storage: Callable[[Any], Any] | None = None) -> Any:
        return Unpickler(file, self._names, storage).load()


def _storage(saved: Any) -> Storage:
    """The storage of what a zip file says of it: ('storage', kind, key, device, count)."""
    return Storage(saved[1], str(saved[2]))


def _is_plumbing(name: str) -> bool:
    """Tells whether a name is only one of how torch keeps tensors."""
    is_type = isinstance(getattr(torch, name.removeprefix('torch.'), None), torch.dtype)
    return is_type or name in DICTS or _OWN.fullmatch(name) is not None
