# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reading of weight files, recognised by their content: not by their names."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tiny_bev_ros.errors import TinyBevError, first_line
from tiny_bev_ros.git_lfs import refuse_lfs_pointer
from tiny_bev_ros.models.checkpoint.inert_pickle import Described, Unread
from tiny_bev_ros.models.checkpoint.safetensors_file import is_safetensors, read_tensors
from tiny_bev_ros.models.checkpoint.torch_file import TorchFile

# Largest size of a file, packed or not: far above any detector's, below a robot's memory.
MAX_BYTES = 2**30
# Depth of nested dicts in which a state_dict is searched, at most.
_MAX_DEPTH = 3
_EXPECTED = 'expected safetensors, or a file of torch.save'
# First bytes of other files that users mistake for weights, and the kinds of these files.
_OTHERS = (
    (b'<', 'a web page or XML, perhaps a downloaded error page'),
    (b'{', 'JSON text'),
    (b'\x1f\x8b', 'packed with gzip'),
    (b'\xfd7zXZ', 'packed with xz'),
    (b'BZh', 'packed with bzip2'),
    (b'(\xb5/\xfd', 'packed with zstd'),
    (b'7z\xbc\xaf', 'a 7z archive'),
    (b'\x89HDF', 'HDF5, as of Keras'),
    (b'GGUF', 'GGUF'),
    (b'\x93NUMPY', 'a NumPy array'),
    (b'ptrt', 'a TensorRT engine'),
    (b'ftrt', 'a TensorRT engine'),
)


class WeightFile(NamedTuple):
    """Content of a file of weights.

    Attributes:
        maps: dicts of tensors and other values by their prefix in the file: '' for the outermost
            dict, 'model.' for the one under that key.
        digest: SHA-256 of the bytes, as 64 hexadecimal digits.
        unread: names of the classes and functions in the file, none of which was run.
    """

    maps: dict[str, dict[str, Any]]
    digest: str
    unread: list[str]


def read_weights(path: str | Path) -> WeightFile:
    """Reads all dicts of tensors in a file, on the CPU.

    Raises:
        TinyBevError: the file cannot be read, is larger than MAX_BYTES, or holds no weights.
    """
    path = Path(path).expanduser()
    refuse_other_files(path)
    # Read at once, as truncating a mapped file would end the process.
    content = _content(path)
    unread: list[str] = []
    try:
        if is_safetensors(content):
            maps: dict[str, dict[str, Any]] = {'': read_tensors(content)}
        else:
            _check_unpacked(path, content)
            file = TorchFile(content)
            maps, unread = _maps(path, file), file.unread
    except TinyBevError:
        raise
    except Exception as error:  # errors of broken bytes are not documented
        raise TinyBevError(
            f'{path} cannot be read: {printable(first_line(error))}; expected a complete file of '
            'tensors'
        ) from None
    return WeightFile(maps, hashlib.sha256(content).hexdigest(), unread)


def refuse_other_files(path: Path) -> None:
    """Refuses files that cannot hold weights, by their first bytes.

    Raises:
        TinyBevError: the path is no file, or the file is empty, a Git LFS pointer or of another
            kind; the message names the kind.
    """
    if not path.is_file():
        kind = 'a folder' if path.is_dir() else 'no file'
        raise TinyBevError(f'checkpoint is {path}, which is {kind}; expected an existing one')
    refuse_lfs_pointer(path)
    start = _content(path, 512)
    if not start:
        raise TinyBevError(f'{path} cannot be read: it is empty; {_EXPECTED}')
    if is_safetensors(start) or start.startswith((b'PK\x03\x04', b'\x80')):
        return
    kind = next((kind for begin, kind in _OTHERS if start.lstrip().startswith(begin)), '')
    if start[257:262] == b'ustar':
        kind = 'a tar archive'
    elif path.suffix == '.onnx' or (start[0] == 8 and b'onnx' in start[:100].lower()):
        kind = 'an ONNX model, whose weights have no names'
    elif not kind:
        kind = f'of unknown kind, it begins with {start[:8].hex(" ")}'
    raise TinyBevError(f'{path} cannot be read: it is {kind}; {_EXPECTED}')


def _content(path: Path, max_bytes: int | None = None) -> bytes:
    try:
        with path.open('rb') as file:
            # One byte more than allowed, as a file may grow while it is read.
            content = file.read(max_bytes or MAX_BYTES + 1)
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    if len(content) > MAX_BYTES:
        raise TinyBevError(f'{path} is larger than {MAX_BYTES} bytes; expected at most that')
    return content


def _check_unpacked(path: Path, content: bytes) -> None:
    """Refuses an archive that would unpack to more than MAX_BYTES."""
    if not content.startswith(b'PK'):  # PyTorch before 1.6 does not pack
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise TinyBevError(
            f'{path} cannot be read: its end is missing; expected a complete file of tensors'
        ) from None
    if size > MAX_BYTES:
        raise TinyBevError(f'{path} unpacks to {size} bytes; expected at most {MAX_BYTES}')


def _maps(path: Path, file: TorchFile) -> dict[str, dict[str, Any]]:
    if not isinstance(file.content, Mapping):
        raise TinyBevError(
            f'{path} holds {_kind(file.content)}; expected a state_dict, or a dict with one'
        )
    return dict(_find_dicts('', file.content, file, set(), 0))


def _find_dicts(
    prefix: str, content: Mapping[Any, Any], file: TorchFile, visited: set[int], depth: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    # Dicts are visited once, as a pickle may contain itself.
    if id(content) in visited or depth > _MAX_DEPTH:
        return
    visited.add(id(content))
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    if not prefix or any(isinstance(value, Described) for value in named.values()):
        yield (
            prefix,
            {
                key: file.tensor(value) if isinstance(value, Described) else value
                for key, value in named.items()
            },
        )
    for key, value in named.items():
        if isinstance(value, Mapping):
            yield from _find_dicts(f'{prefix}{key}.', value, file, visited, depth + 1)


def _kind(value: Any) -> str:
    if isinstance(value, Unread):
        return f'a pickled {printable(value.name)}, of which nothing is run'
    return f'a {"Tensor" if isinstance(value, Described) else type(value).__name__}'


def printable(name: str) -> str:
    """Returns a name or text from a file in a short and printable form, for logs."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= 100 else f'{name[:97]}...'
