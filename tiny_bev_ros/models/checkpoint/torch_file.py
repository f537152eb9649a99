# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tensors from files of torch.save, without running any of their content.

Such a file is a pickle, which names functions to call. Here no name is ever looked up: each one
becomes an inert stand-in, plain tensors are rebuilt, and other objects that a trainer left beside
the weights (NumPy scalars, options, log buffers) stay unread. torch.load(weights_only=True)
refuses whole files for such objects, and the functions it allows are a setting of the process.
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

# First number in files of torch.save before PyTorch 1.6, and their version.
_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_VERSION = 1001
# Names that torch itself uses to store tensors, which are not reported as unread.
_TENSOR_NAMES = re.compile(
    r'torch\.(\w*Storage|Size|device|storage\..*|_utils\..*|_tensor\..*|nn\.parameter\..*)'
)


class TorchFile:
    """Content of a file of torch.save.

    Attributes:
        content: dicts, lists and plain values; Described for tensors, Unread for other objects.
        unread: sorted names of the unread objects.
    """

    def __init__(self, bytes_: bytes) -> None:
        """Reads the structure; `tensor` reads the numbers.

        Args:
            bytes_: content of the file.

        Raises:
            ValueError: the bytes are no file of torch.save, or are cut off; many other errors for
                other wrong bytes.
        """
        self._names: set[str] = set()
        self._storages: dict[str, Tensor] = {}
        self._storage_bytes: Callable[[str], bytes]
        if bytes_.startswith(b'PK'):
            self.content = self._read_zip(bytes_)
        else:
            self.content = self._read_old(bytes_)
        self.unread = sorted(name for name in self._names if not _stores_tensors(name))

    def tensor(self, described: Described) -> Tensor | Unread:
        """Reads a tensor, on the CPU; tensors that share numbers in the file share them here."""
        storage, dtype = described.storage, described.dtype
        if dtype is None:
            return Unread(described.type_name)
        if storage.key not in self._storages:
            data = bytearray(self._storage_bytes(storage.key))
            empty = torch.empty(0, dtype=torch.uint8)
            self._storages[storage.key] = (
                torch.frombuffer(data, dtype=torch.uint8) if data else empty
            )
        bytes_ = self._storages[storage.key]
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
        self._unpickle(file)  # byte order of the writer; numbers are little-endian all the same
        storages: dict[str, tuple[Unread, int]] = {}

        def read_storage(saved: Any) -> Any:
            if saved[0] == 'module':  # (.., class, source file, source)
                return saved[1]
            _, kind, key, _, count, view = saved
            storages[key] = kind, count
            return Storage(kind, key, view[1] if view else 0)

        content = self._unpickle(file, read_storage)
        datas: dict[str, bytes] = {}
        for key in self._unpickle(file):
            kind, expected = storages[key]
            (count,) = struct.unpack('<q', file.read(8))
            dtype = STORAGES[kind.name.rpartition('.')[2]]
            size = count * dtype.itemsize
            datas[key] = file.read(max(size, 0))
            if count != expected or len(datas[key]) != size:
                raise EOFError('it is cut off')
        self._storage_bytes = datas.__getitem__
        return content

    def _unpickle(self, file: io.BytesIO, storage: Callable[[Any], Any] | None = None) -> Any:
        return Unpickler(file, self._names, storage).load()


def _storage(saved: Any) -> Storage:
    """Storage of a zip file's record ('storage', kind, key, device, count)."""
    return Storage(saved[1], str(saved[2]))


def _stores_tensors(name: str) -> bool:
    """True for names that torch itself uses to store tensors."""
    is_type = isinstance(getattr(torch, name.removeprefix('torch.'), None), torch.dtype)
    return is_type or name in DICTS or _TENSOR_NAMES.fullmatch(name) is not None
