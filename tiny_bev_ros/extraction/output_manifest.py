# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Opening of an output folder: compares its manifest, removes old outputs, and locks it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.durable_files import replace_text
from tiny_bev_ros.extraction.output_folder import MARKERS, PARTIAL, OutputFolder
from tiny_bev_ros.extraction.work_units import SINGLE, Shard

# Value of the entry `program`; a manifest.json without it belongs to another program.
_PROGRAM = 'tiny_bev_ros extract'
# Patterns of the files that an extraction writes; no other files are ever removed.
_OUTPUTS = (
    *(
        f'{kind}/*/part-*.{end}'
        for kind in ('detections', 'drivable')
        for end in ('parquet', 'safetensors')
    ),
    'frames/*/part-*.parquet',
    'features/*/part-*.safetensors',
    'messages/*/part-*.mcap',
    f'{MARKERS}/*/part-*.json',
    f'{MARKERS}/*/survey.json',
    'failed.jsonl',
    'failed-*-of-*.jsonl',
)
_ABSENT = object()


@contextmanager
def open_output(
    path: str | Path,
    manifest: Mapping[str, Any],
    shard: Shard = SINGLE,
    overwrite: bool = False,
) -> Iterator[OutputFolder]:
    """Context manager: yields an output folder of one configuration, for this program alone.

    Partial files are removed at the start, as an extraction that was killed left them, and at the
    end. The list of failed units is removed at the start, as they are tried again.

    Args:
        path: path of the folder, which is made if it is absent.
        manifest: configuration, versions and inputs that determine the outputs, for JSON. The
            entry `bags` describes each bag by its name; later calls may add further bags.
        shard: part of the runs that this machine computes.
        overwrite: True to remove outputs of another configuration; those of an equal one stay.

    Raises:
        TinyBevError: the folder holds outputs of another configuration, or is in use.
    """
    folder = OutputFolder(Path(path).absolute(), shard)
    try:
        folder.partial_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TinyBevError(f'{path} cannot be made: {error.strerror}') from None
    with _locked(folder):
        _match_manifest(folder, manifest, overwrite)
        folder.remove_leftovers()
        folder.failures_path.unlink(missing_ok=True)
        try:
            yield folder
        finally:
            folder.remove_partial_folder()


@contextmanager
def _locked(folder: OutputFolder) -> Iterator[None]:
    """Locks the folder of partial files; the lock ends with this process, even if it is killed."""
    handle = os.open(folder.partial_path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # Some network file systems have no locks.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise TinyBevError(
                    f'{folder.path} is in use by another extraction of shard '
                    f'{folder.shard.index}/{folder.shard.count}; expected one at a time'
                ) from None
        yield
    finally:
        os.close(handle)


def _match_manifest(folder: OutputFolder, manifest: Mapping[str, Any], overwrite: bool) -> None:
    path = folder.manifest_path
    expected = {'program': _PROGRAM, **manifest}
    found = _read(folder)
    difference = _difference(folder, found, expected)
    if difference and not overwrite:
        raise TinyBevError(f'{difference}: name another folder, or give --overwrite')
    if difference:
        _remove_outputs(folder)
    elif found is not None:
        expected = _with_bags(found, expected)
    if difference or found != expected:
        text = json.dumps(expected, indent=1, sort_keys=True) + '\n'
        replace_text(path, text, folder.partial_path / 'manifest.json')
        # Another machine may have started at the same moment.
        if difference := _difference(folder, _read(folder), expected):
            raise TinyBevError(difference)


def _read(folder: OutputFolder) -> dict[str, Any] | None:
    """Returns the manifest of a folder; None without one.

    Raises:
        TinyBevError: the file is no manifest of an extraction.
    """
    path = folder.manifest_path
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get('program') != _PROGRAM:
        raise TinyBevError(
            f'{path} is of another program; expected a folder of `extract`, or none'
        )
    return found


def _with_bags(manifest: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a manifest to which the bags of another one are added."""
    bags = {**other.get('bags', {}), **manifest.get('bags', {})}
    return {**manifest, 'bags': bags} if bags else manifest


def _difference(
    folder: OutputFolder, found: dict[str, Any] | None, expected: dict[str, Any]
) -> str:
    """Returns the first entry of the manifest that differs, in one line; '' if all are equal.

    Bags that only one of the two has are no difference.
    """
    path = folder.manifest_path
    if found is None:
        marker = next((folder.path / MARKERS).glob('*/*.json'), None)
        return f'{path} is absent beside {marker}; expected a manifest' if marker else ''
    old, new = _flatten(_with_bags(found, expected)), _flatten(_with_bags(expected, found))
    for name in dict.fromkeys((*new, *old)):
        if old.get(name, _ABSENT) != new.get(name, _ABSENT):
            return f'{path}: {name} is {_text(old, name)}; expected {_text(new, name)}'
    return ''


def _flatten(value: Any, name: str = '') -> dict[str, Any]:
    """Returns the leaves of nested objects and lists by their dotted names."""
    if isinstance(value, dict) and value:
        items = [(f'{name}.{key}' if name else key, each) for key, each in value.items()]
    elif isinstance(value, list) and value:
        items = [(f'{name}[{index}]', each) for index, each in enumerate(value)]
    else:
        return {name: value}
    return {key: leaf for prefix, each in items for key, leaf in _flatten(each, prefix).items()}


def _text(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]) if name in values else 'no entry'


def _remove_outputs(folder: OutputFolder) -> None:
    """Removes the files of an extraction and the folders that are empty without them."""
    root = folder.path
    files = [path for each in _OUTPUTS for path in root.glob(each) if path.is_file()]
    for path in files:
        path.unlink(missing_ok=True)
    parents = {parent for path in files for parent in path.parents if root in parent.parents}
    for parent in sorted(parents, reverse=True):
        with suppress(OSError):  # It may hold other files.
            parent.rmdir()
    for partial in (root / PARTIAL).iterdir():
        if partial != folder.partial_path:  # which is locked
            shutil.rmtree(partial, ignore_errors=True)
