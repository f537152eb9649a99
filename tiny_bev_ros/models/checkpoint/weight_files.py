# SPDX-License-Identifier: Apache-2.0
"""Files of weights, told apart by what is in them: names and suffixes mean nothing."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.git_lfs import refuse_lfs_pointer
from tiny_bev_ros.models.checkpoint.inert_pickle import Described, Unread
from tiny_bev_ros.models.checkpoint.safetensors_file import is_safetensors, read_tensors
from tiny_bev_ros.models.checkpoint.torch_file import TorchFile

# The largest file, packed or not: far above any detector's, below a robot's memory.
MAX_BYTES = 2**30
# Dicts in dicts that a trainer makes around a state_dict, at most.
_DEEPEST = 3
_EXPECTED = 'expected safetensors, or a file of torch.save'
# First bytes of other files that are taken for weights, and what such files are.
_OTHERS = (
    (b'<', 'a web page or XML, perhaps an error that was downloaded'),
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
        maps: dicts of tensors, and of other values, by where they lie in the file: '' for
            the outermost one, 'model.' for the one under that key.
        digest: SHA-256 of the bytes, as 64 hexadecimal digits.
        unread: names of what else the file holds, of which nothing was run.
    """

    maps: dict[str, dict[str, Any]]
    digest: str
    unread: list[str]


def read_weights(path: str | Path) -> WeightFile:
    """All dicts of tensors in a file, on the CPU.

    Raises:
        TinyBevError: the file cannot be read, is larger than MAX_BYTES, or holds no weights.
    """
    path = Path(path).expanduser()
    refuse_other_files(path)
    # All of it at once: whoever replaces or truncates a file that is mapped ends the process.
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
    except Exception as error:  # what broken bytes raise is not documented
        raise TinyBevError(
            f'{path} cannot be read: {_first_line(error)}; expected a complete file of tensors'
        ) from None
    return WeightFile(maps, hashlib.sha256(content).hexdigest(), unread)


def refuse_other_files(path: Path) -> None:
    """Says what a file is that can hold no weights; passes those that can.

    Raises:
        TinyBevError: it is none, is empty, stands for another one, or begins as others do.
    """
    if not path.is_file():
        what = 'a folder' if path.is_dir() else 'no file'
        raise TinyBevError(f'checkpoint is {path}, which is {what}; expected an existing one')
    refuse_lfs_pointer(path)
    start = _content(path, 512)
    if not start:
        raise TinyBevError(f'{path} cannot be read: it is empty; {_EXPECTED}')
    if is_safetensors(start) or start.startswith((b'PK\x03\x04', b'\x80')):
        return
    what = next((what for begin, what in _OTHERS if start.lstrip().startswith(begin)), '')
    if start[257:262] == b'ustar':
        what = 'a tar archive'
    elif path.suffix == '.onnx' or (start[0] == 8 and b'onnx' in start[:100].lower()):
        what = 'an ONNX model, whose weights have no names'
    elif not what:
        what = f'of unknown kind, it begins with {start[:8].hex(" ")}'
    raise TinyBevError(f'{path} cannot be read: it is {what}; {_EXPECTED}')


def _content(path: Path, most: int | None = None) -> bytes:
    try:
        with path.open('rb') as file:
            # One more than allowed: a file may grow while it is read.
            content = file.read(most or MAX_BYTES + 1)
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    if len(content) > MAX_BYTES:
        raise TinyBevError(f'{path} is larger than {MAX_BYTES} bytes; expected at most that')
    return content


def _check_unpacked(path: Path, content: bytes) -> None:
    """Refuses an archive that would become larger than any file may be."""
    if not content.startswith(b'PK'):  # of PyTorch before 1.6: not packed
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
    return dict(_search('', file.content, file, set(), 0))


def _search(
    where: str, content: Mapping[Any, Any], file: TorchFile, seen: set[int], depth: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    # A pickle may hold itself.
    if id(content) in seen or depth > _DEEPEST:
        return
    seen.add(id(content))
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    if not where or any(isinstance(value, Described) for value in named.values()):
        yield (
            where,
            {
                key: file.tensor(value) if isinstance(value, Described) else value
                for key, value in named.items()
            },
        )
    for key, value in named.items():
        if isinstance(value, Mapping):
            yield from _search(f'{where}{key}.', value, file, seen, depth + 1)


def _kind(value: Any) -> str:
    if isinstance(value, Unread):
        return f'a pickled {shown(value.name)}, of which nothing is run'
    return f'a {"Tensor" if isinstance(value, Described) else type(value).__name__}'


def shown(name: str) -> str:
    """A name from a file, short and printable, so that a log stays legible."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= 100 else f'{name[:97]}...'


def _first_line(error: Exception) -> str:
    return shown(str(error).strip().partition('\n')[0]) or type(error).__name__
