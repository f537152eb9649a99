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

import glob
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.durable_files import replace_text, sync_folders
from tiny_bev_ros.extraction.file_lock import FileLock
from tiny_bev_ros.extraction.output_folder import MARKERS, PARTIAL, OutputFolder
from tiny_bev_ros.extraction.work_units import SINGLE, Shard

# Value of the entry `program`; a manifest.json without it belongs to another program.
_PROGRAM = 'tiny_bev_ros extract'
# Patterns of the files that an extraction writes for a bag; no other files are ever removed.
_MARKER_FILES = (f'{MARKERS}/{{}}/part-*.json', f'{MARKERS}/{{}}/survey.json')
_OUTPUT_FILES = (
    *(
        f'{kind}/{{}}/part-*.{end}'
        for kind in ('detections', 'drivable')
        for end in ('parquet', 'safetensors')
    ),
    'frames/{}/part-*.parquet',
    'features/{}/part-*.safetensors',
    'messages/{}/part-*.mcap',
)
_ALL_BAGS = '*'
_ABSENT = object()
_REMEDY = ': name another folder, or give --overwrite'
_LOGGER = logging.getLogger('tiny_bev_ros')


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
        shard: part of the bags that this machine computes.
        overwrite: True to remove outputs of another configuration, or those of changed bags;
            other outputs stay.

    Raises:
        TinyBevError: the folder holds such outputs, or is in use.
    """
    folder = OutputFolder(Path(path).absolute(), shard)
    _read(folder)  # A folder of another program stays as it is.
    try:
        with closing(_lock(folder, manifest, overwrite)):
            try:
                folder.remove_leftovers()
                _remove_failures(folder)
                yield folder
            finally:
                folder.remove_leftovers()
    finally:
        with suppress(OSError):  # Another machine may write there.
            (folder.path / PARTIAL).rmdir()


def known_bags(path: str | Path) -> dict[str, str]:
    """Returns the names of the bags that an output folder has, by their paths.

    Args:
        path: path of the folder, which may be absent.

    Raises:
        TinyBevError: the folder is of another program.
    """
    found = _read(OutputFolder(Path(path).absolute())) or {}
    return {bag['path']: name for name, bag in found.get('bags', {}).items()}


def _lock(folder: OutputFolder, manifest: Mapping[str, Any], overwrite: bool) -> FileLock:
    """Locks the shard and matches the manifest, while no other machine does either.

    Raises:
        TinyBevError: the folder is in use, cannot be written, or holds other outputs.
    """
    try:
        opening = FileLock(folder.path / PARTIAL / 'opening.lock', wait=True)
    except OSError as error:
        raise TinyBevError(f'{folder.path} cannot be made: {error.strerror}') from None
    with closing(opening):
        if not opening.supported:
            _LOGGER.warning(
                '%s is on a file system without locks; expected never two extractions of one '
                'shard at a time there',
                folder.path,
            )
        lock = _lock_shard(folder, folder.lock_path)
        try:
            # With another number of shards, other machines would compute bags of this one.
            end = f'-of-{folder.shard.count}'
            _refuse_use(folder, (each for each in _locks(folder) if not each.stem.endswith(end)))
            _match_manifest(folder, manifest, overwrite)
        except BaseException:
            lock.close()
            raise
    return lock


def _locks(folder: OutputFolder) -> list[Path]:
    """Returns the files of the locks of other shards."""
    found = (folder.path / PARTIAL).glob('*-of-*.lock')
    return [path for path in found if path != folder.lock_path]


def _lock_shard(folder: OutputFolder, path: Path) -> FileLock:
    try:
        return FileLock(path)
    except BlockingIOError:
        shard = path.stem.replace('-of-', '/')
        raise TinyBevError(
            f'{folder.path} is in use by another extraction of shard {shard}; expected one at a '
            'time'
        ) from None


def _refuse_use(folder: OutputFolder, locks: Iterable[Path]) -> None:
    """Refuses locks that another process has; removes what a killed one left beside the others."""
    for path in locks:
        with closing(_lock_shard(folder, path)):
            shutil.rmtree(path.with_suffix(''), ignore_errors=True)


def _match_manifest(folder: OutputFolder, manifest: Mapping[str, Any], overwrite: bool) -> None:
    """Compares the manifest with that of the folder, which is replaced.

    Outputs without any marker are never trusted: they are removed without being asked for.
    """
    expected = json.loads(json.dumps({'program': _PROGRAM, 'bags': {}, **manifest}))
    found = _read(folder)
    outdated, difference = _compare(folder, found, expected)
    if difference and not overwrite:
        raise TinyBevError(difference)
    if outdated:
        _refuse_use(folder, _locks(folder))
    for bag in outdated:
        _remove_outputs(folder, bag)
    if found is not None and outdated != [_ALL_BAGS]:
        expected['bags'] = {**found.get('bags', {}), **expected['bags']}
    if found != expected:
        text = json.dumps(expected, indent=1, sort_keys=True) + '\n'
        new = folder.path / PARTIAL / f'manifest-{folder.shard.label}.json'
        replace_text(folder.manifest_path, text, new)
        sync_folders([folder.manifest_path], folder.path)


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


def _compare(
    folder: OutputFolder, found: dict[str, Any] | None, expected: dict[str, Any]
) -> tuple[list[str], str]:
    """Returns patterns of the bags whose outputs are outdated, and the reason in one line.

    The reason is '' where no unit of these bags is finished. Bags that only one manifest has are
    no difference.
    """
    path = folder.manifest_path
    if found is None:
        marker = next(_files(folder, _MARKER_FILES, _ALL_BAGS), None)
        reason = f'{path} is absent beside {marker}; expected a manifest{_REMEDY}'
        return ([_ALL_BAGS], reason) if marker else ([], '')
    old, new = ({**each, 'bags': {}} for each in (found, expected))
    if old != new:
        reasons = {_ALL_BAGS: f'{path}: {_first_difference(old, new)}{_REMEDY}'}
    else:
        bags = found.get('bags', {})
        reasons = {
            glob.escape(name): f'{path}: bags.{_first_difference({name: bags[name]}, {name: bag})}'
            ': give --overwrite, which removes the results of this bag alone'
            for name, bag in expected['bags'].items()
            if bags.get(name, bag) != bag
        }
    finished = [bag for bag in reasons if any(_files(folder, _MARKER_FILES, bag))]
    return list(reasons), reasons[finished[0]] if finished else ''


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Returns the first entry that differs, with both values."""
    before, after = _flatten(old), _flatten(new)
    return next(
        f'{name} is {_text(before, name)}; expected {_text(after, name)}'
        for name in dict.fromkeys((*after, *before))
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    )


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


def _files(folder: OutputFolder, patterns: Iterable[str], bag: str) -> Iterator[Path]:
    """Yields the files of the bags whose names match a pattern."""
    for each in patterns:
        yield from (path for path in folder.path.glob(each.format(bag)) if path.is_file())


def _remove_outputs(folder: OutputFolder, bag: str) -> None:
    """Removes the files of the bags of a pattern, and the folders that are empty without them.

    Markers go first: where this is interrupted, none of them stands for a file that is gone.
    """
    root = folder.path
    removed: list[Path] = []
    for patterns in (_MARKER_FILES, _OUTPUT_FILES):
        files = list(_files(folder, patterns, bag))
        for path in files:
            path.unlink(missing_ok=True)
        sync_folders(files, root)
        removed += files
    parents = {parent for path in removed for parent in path.parents if root in parent.parents}
    for parent in sorted(parents, reverse=True):
        with suppress(OSError):  # It may hold other files.
            parent.rmdir()


def _remove_failures(folder: OutputFolder) -> None:
    """Removes the lists of failed units of this shard, and of other numbers of shards."""
    end = f'-of-{folder.shard.count}.jsonl'
    for path in (*folder.path.glob('failed.jsonl'), *folder.path.glob('failed-*-of-*.jsonl')):
        if path == folder.failures_path or not path.name.endswith(end):
            path.unlink(missing_ok=True)
