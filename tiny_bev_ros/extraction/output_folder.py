# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Output folder of an extraction: units that are finished, being written or put aside.

The marker of a unit, `runs/<bag>/*.json`, is written last and holds no times: it exists if the
files of the unit are whole, and is equal in every rerun.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.durable_files import replace_text, sync, sync_folders
from tiny_bev_ros.extraction.work_units import SINGLE, Shard, Survey, Unit
from tiny_bev_ros.file_digest import file_sha256

MARKERS = 'runs'
PARTIAL = '.partial'
# Folder beside those of units, none of which has this name.
_SCRATCH = 'unpacked'


class BrokenUnit(NamedTuple):
    """Finished unit whose files differ from its marker.

    Attributes:
        key: key of the unit.
        reason: first difference in one line.
    """

    key: str
    reason: str


@dataclass(frozen=True)
class OutputFolder:
    """Files and markers of the units in an output folder; picklable, for the workers.

    Attributes:
        path: path of the folder.
        shard: part of the bags that this machine computes; names the folder of its partial files.
    """

    path: Path
    shard: Shard = SINGLE

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest."""
        return self.path / 'manifest.json'

    @property
    def partial_path(self) -> Path:
        """Folder of the files that this machine is writing."""
        return self.path / PARTIAL / self.shard.label

    @property
    def lock_path(self) -> Path:
        """Path of the file that this machine locks."""
        return self.path / PARTIAL / f'{self.shard.label}.lock'

    @property
    def failures_path(self) -> Path:
        """Path of the list of units that this machine put aside."""
        name = 'failed' if self.shard.count == 1 else f'failed-{self.shard.label}'
        return self.path / f'{name}.jsonl'

    def partial_folder(self, unit: Unit) -> Path:
        """Makes an empty folder for the files of a unit, in the tree of the output folder."""
        self.partial_path.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.partial_path, prefix=_partial_prefix(unit)))

    def scratch_folder(self) -> Path:
        """Makes the folder of unpacked copies of bags, which is removed as partial files are.

        Workers are ended at once, so that they cannot remove their copies themselves.
        """
        folder = self.partial_path / _SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(
        self, unit: Unit, partial_folder: Path, result: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Moves the files of a unit into place, then writes its marker.

        Args:
            unit: unit.
            partial_folder: folder of `partial_folder`, with closed files; removed.
            result: entries of the marker beside `files`.

        Returns:
            The marker.
        """
        files = {}
        for source in sorted(each for each in partial_folder.rglob('*') if each.is_file()):
            sync(source)
            name = source.relative_to(partial_folder).as_posix()
            files[name] = {'sha256': file_sha256(source), 'bytes': source.stat().st_size}
        for name in files:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial_folder / name).replace(target)
        sync_folders([self.path / name for name in files], self.path)
        marker = {**result, 'files': files}
        text = json.dumps(marker, indent=1, sort_keys=True) + '\n'
        replace_text(self._marker(unit.key), text, partial_folder / 'marker.json')
        sync_folders([self._marker(unit.key)], self.path)
        shutil.rmtree(partial_folder, ignore_errors=True)
        return marker

    def discard(self, unit: Unit) -> None:
        """Removes partial files of a unit that failed, which frees space on the disk."""
        for folder in self.partial_path.glob(f'{_partial_prefix(unit)}*'):
            shutil.rmtree(folder, ignore_errors=True)

    def is_done(self, unit: Unit) -> bool:
        """True if the unit is finished."""
        return self._marker(unit.key).is_file()

    def result(self, unit: Unit) -> dict[str, Any]:
        """Reads the marker of a finished unit.

        Raises:
            TinyBevError: the marker is damaged.
        """
        path = self._marker(unit.key)
        try:
            marker: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise TinyBevError(
                f'{path} cannot be read ({error}); expected a marker of a unit: give --verify'
            ) from None
        return marker

    def verify(
        self, surveys: Iterable[Survey], compared: Callable[[int, int], None] = lambda *_: None
    ) -> Iterator[BrokenUnit]:
        """Compares the files of the bags of this machine with the SHA-256 in their markers.

        Markers of broken units are removed, so that these are computed again.

        Args:
            surveys: surveys of all bags.
            compared: called with the number of compared units, and that of all.
        """
        bags = [self.path / MARKERS / survey.name for survey in self.shard.select(surveys)]
        paths = [path for bag in bags for path in sorted(bag.glob('*.json'))]
        for number, path in enumerate(paths, 1):
            if reason := self._difference(path):
                path.unlink()
                yield BrokenUnit(f'{path.parent.name}/{path.stem}', reason)
            compared(number, len(paths))

    def put_aside(self, entry: Mapping[str, Any]) -> None:
        """Adds a line to the list of failed units.

        Args:
            entry: unit and cause.
        """
        with self.failures_path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')

    def remove_leftovers(self) -> None:
        """Removes partial files and unpacked bags of this machine."""
        shutil.rmtree(self.partial_path, ignore_errors=True)

    def _marker(self, key: str) -> Path:
        return self.path / MARKERS / f'{key}.json'

    def _difference(self, marker: Path) -> str:
        """Returns the first difference between a marker and its files; '' if there is none."""
        try:
            files = json.loads(marker.read_bytes())['files']
        except (ValueError, KeyError, TypeError) as error:
            return f'{marker.name} is damaged ({error!r})'
        for name, expected in files.items():
            path = self.path / name
            if not path.is_file():
                return f'{name} is absent'
            if (size := path.stat().st_size) != expected['bytes']:
                return f'{name} has {size} bytes; expected {expected["bytes"]}'
            if file_sha256(path) != expected['sha256']:
                return f'{name} has another SHA-256'
        return ''


def _partial_prefix(unit: Unit) -> str:
    return unit.key.replace('/', '@') + '@'
