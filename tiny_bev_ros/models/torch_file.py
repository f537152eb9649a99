# SPDX-License-Identifier: Apache-2.0
"""Tensors from files of torch.save, without running anything that is in them.

Such a file is a pickle, which names functions to call. Here no name is ever looked up: each one
becomes an inert stand-in, those of plain tensors are rebuilt, and what else a trainer left beside
the weights (NumPy scalars, options, log buffers) stays unread. torch.load(weights_only=True)
refuses whole files for that, and what it may call is a setting of the whole process.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

# What torch.save wrote first before PyTorch 1.6, and its version.
_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_VERSION = 1001
_STORAGES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128,
    'UntypedStorage': torch.uint8,
}
_DICTS = ('collections.OrderedDict', 'collections.defaultdict')
# How torch itself keeps tensors: no loss where they are not read.
_OWN = re.compile(
    r'torch\.(\w*Storage|Size|device|storage\..*|_utils\..*|_tensor\..*|nn\.parameter\..*)'
)


class Unread:
    """Stands for what is not read: a class, a function, or what would come of calling it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        """Makes what the name stands for: a dict, a tensor yet to be read, or nothing."""
        if self.name in _DICTS:
            # Python 2 gave an OrderedDict its items, as pairs; a defaultdict has a function.
            pairs = args[0] if args and isinstance(args[0], list) else []
            return dict(pairs)
        if self.name in ('torch._utils._rebuild_tensor', 'torch._utils._rebuild_tensor_v2'):
            storage, offset, size, stride = args[:4]
            return Described(storage, offset, size, stride, None)
        if self.name == 'torch._utils._rebuild_tensor_v3':
            storage, offset, size, stride, _, _, kind = args[:7]
            return Described(storage, offset, size, stride, kind)
        if self.name.startswith('torch._utils._rebuild_parameter'):
            return args[0]
        if self.name == 'torch._tensor._rebuild_from_type_v2':
            return args[0](*args[2])
        return Unread(self.name)

    def _ignore(self, *_: Any) -> None:
        """Takes what a pickle puts into objects of a class of lists, sets or dicts."""

    append = extend = add = __setitem__ = _ignore


class _Storage(NamedTuple):
    kind: Unread
    key: str
    start: int = 0


class Described(NamedTuple):
    """A tensor of the file, before its numbers are read."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    kind: Unread | None

    @property
    def type_name(self) -> str:
        """The type of its numbers, as the file names it."""
        return (self.kind or self.storage.kind).name

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of its numbers; None where this PyTorch has none of that name."""
        short = self.type_name.rpartition('.')[2]
        found = _STORAGES.get(short) if self.kind is None else getattr(torch, short, None)
        return found if isinstance(found, torch.dtype) else None


class TorchFile:
    """What a file of torch.save holds.

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
            return _Storage(kind, key, view[1] if view else 0)

        content = self._unpickle(file, found)
        datas: dict[str, bytes] = {}
        for key in self._unpickle(file):
            kind, expected = storages[key]
            (count,) = struct.unpack('<q', file.read(8))
            dtype = _STORAGES[kind.name.rpartition('.')[2]]
            wanted = count * dtype.itemsize
            datas[key] = file.read(max(wanted, 0))
            if count != expected or len(datas[key]) != wanted:
                raise EOFError('it is cut off')
        self._storage_bytes = datas.__getitem__
        return content

    def _unpickle(self, file: io.BytesIO, storage: Callable[[Any], Any] | None = None) -> Any:
        return _Unpickler(file, self._names, storage).load()


def _storage(saved: Any) -> _Storage:
    """The storage of what a zip file says of it: ('storage', kind, key, device, count)."""
    return _Storage(saved[1], str(saved[2]))


def _is_plumbing(name: str) -> bool:
    """Whether a name says but how tensors are kept."""
    is_type = isinstance(getattr(torch, name.removeprefix('torch.'), None), torch.dtype)
    return is_type or name in _DICTS or _OWN.fullmatch(name) is not None


# The one in Python: its steps can be replaced, and it allocates nothing that a file merely claims.
_Python: Any = pickle._Unpickler


class _Unpickler(_Python):
    """Makes stand-ins, and gives no object a state of the file's choice."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def __init__(
        self, file: io.BytesIO, names: set[str], storage: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(file, encoding='utf-8', errors='backslashreplace')
        self._found, self._storage = names, storage

    def find_class(self, module: str, name: str) -> Unread:
        """Looks nothing up."""
        full = f'{module}.{name}'
        self._found.add(full)
        return Unread(full)

    def get_extension(self, code: int) -> None:
        """Refuses names that stand in a table of the process."""
        raise pickle.UnpicklingError(f'it names extension {code}, which only its writer knows')

    def persistent_load(self, pid: Any) -> Any:
        """Makes a storage of what is said of one."""
        if self._storage is None or not isinstance(pid, tuple):
            raise pickle.UnpicklingError(f'it refers to a {type(pid).__name__} outside')
        return self._storage(pid)

    def _leave_state(self) -> None:
        self.stack.pop()

    def _call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Unread):
            raise pickle.UnpicklingError(f'it calls a {type(function).__name__}')
        self.append(function(*args))

    def _call_without_keywords(self) -> None:
        self.stack.pop()
        self._call()

    def _read_bytearray(self) -> None:
        (length,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch |= {
        pickle.BUILD[0]: _leave_state,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.NEWOBJ_EX[0]: _call_without_keywords,
        pickle.BYTEARRAY8[0]: _read_bytearray,
    }
