# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Unpickling without running code: each name becomes an inert stand-in, none is looked up."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch

STORAGES = {
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
DICTS = ('collections.OrderedDict', 'collections.defaultdict')


class Unread:
    """Inert stand-in for a class, a function, or the result of calling it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        """Returns a dict or a Described tensor for their constructors, else another stand-in."""
        if self.name in DICTS:
            # An OrderedDict of Python 2 has its items as pairs, a defaultdict a function.
            pairs = args[0] if args and isinstance(args[0], list) else []
            _refuse_deep([pair[0] for pair in pairs])
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
        """Ignores items that a pickle puts into an object."""

    append = extend = add = __setitem__ = _ignore


class Storage(NamedTuple):
    """Storage of numbers in a file, which several tensors may share."""

    kind: Unread
    key: str
    start: int = 0


class Described(NamedTuple):
    """Description of a tensor, before its numbers are read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    kind: Unread | None

    @property
    def type_name(self) -> str:
        """Name of the dtype or storage class in the file."""
        return (self.kind or self.storage.kind).name

    @property
    def dtype(self) -> torch.dtype | None:
        """Dtype of the numbers; None where this PyTorch has none of that name."""
        short = self.type_name.rpartition('.')[2]
        found = STORAGES.get(short) if self.kind is None else getattr(torch, short, None)
        return found if isinstance(found, torch.dtype) else None


def _refuse_deep(keys: list[Any]) -> None:
    """Refuses nested tuples as keys, as hashing a million levels crashes Python."""
    for key in keys:
        if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
            raise pickle.UnpicklingError('it has tuples in tuples as keys')


# Pure-Python unpickler: its steps can be replaced, and it allocates no size that a file claims.
_Python: Any = pickle._Unpickler


class Unpickler(_Python):
    """Unpickler that creates stand-ins and sets no state of objects."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def __init__(
        self, file: io.BytesIO, names: set[str], storage: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(file, encoding='utf-8', errors='backslashreplace')
        self._found, self._storage = names, storage

    def find_class(self, module: str, name: str) -> Unread:
        """Returns a stand-in instead of the named class or function."""
        full = f'{module}.{name}'
        self._found.add(full)
        return Unread(full)

    def get_extension(self, code: int) -> None:
        """Refuses names from the extension table of the process."""
        raise pickle.UnpicklingError(f'it names extension {code}, which only its writer knows')

    def persistent_load(self, pid: Any) -> Any:
        """Makes a storage from its record."""
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

    def _set_item(self) -> None:
        _refuse_deep(self.stack[-2:-1])
        super().load_setitem()

    # In the methods below, the stack holds the items since the last mark.
    def _set_items(self) -> None:
        _refuse_deep(self.stack[::2])
        super().load_setitems()

    def _make_dict(self) -> None:
        _refuse_deep(self.stack[::2])
        super().load_dict()

    def _add_items(self) -> None:
        _refuse_deep(self.stack)
        super().load_additems()

    def _make_frozenset(self) -> None:
        _refuse_deep(self.stack)
        super().load_frozenset()

    dispatch |= {
        pickle.BUILD[0]: _leave_state,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.NEWOBJ_EX[0]: _call_without_keywords,
        pickle.BYTEARRAY8[0]: _read_bytearray,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _make_dict,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _make_frozenset,
    }
