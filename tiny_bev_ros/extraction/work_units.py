# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Units of work of an extraction: a survey for each bag, then runs of its frames."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

# Number of frames of a run; the last one of a bag is shorter.
RUN_FRAMES = 256
# Characters of a folder name; 4 bytes each at most, below the 255 that file systems take.
_NAME_LENGTH = 60


@dataclass(frozen=True)
class Survey:
    """First unit of a bag: finds its clouds.

    Its result has `count`, the number of extracted frames, and, where the mounting of the sensor
    is estimated, `mounting`: the state of the estimate at the first frame of each run.

    Attributes:
        path: bag, as an absolute path.
        name: folder name of the bag in the output, unique.
    """

    path: str
    name: str

    @property
    def key(self) -> str:
        """Unique name of the unit."""
        return f'{self.name}/survey'

    @property
    def size(self) -> int:
        """Number of frames in the output: none."""
        return 0


@dataclass(frozen=True)
class Run:
    """Successive extracted frames of one bag.

    Attributes:
        path: bag, as an absolute path.
        name: folder name of the bag in the output, unique.
        number: number of the run in its bag, from 0.
        first: index of its first frame among the extracted frames of the bag.
        count: number of its frames.
        mounting: state of the estimated mounting before the first frame; None without an estimate,
            and until `with_mounting` adds it.
    """

    path: str
    name: str
    number: int
    first: int
    count: int
    mounting: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Unique name of the unit."""
        return f'{self.name}/{part_name(self.number)}'

    @property
    def size(self) -> int:
        """Number of frames in the output."""
        return self.count


Unit = Survey | Run


class Worker(Protocol):
    """Object that computes units, with the networks loaded."""

    def __call__(self, unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
        """Computes one unit and writes its files.

        Args:
            unit: survey or run.
            progress: called with the number of frames that were computed since its last call.

        Returns:
            Result that JSON can hold, without times.
        """
        ...


# Factory of a worker, called once in each worker process; picklable.
WorkerFactory = Callable[[], Worker]


@dataclass(frozen=True)
class Shard:
    """Part of the bags that one of several machines takes.

    Attributes:
        index: number of the machine, from 1.
        count: number of machines.
    """

    index: int = 1
    count: int = 1

    @property
    def label(self) -> str:
        """Text for file names."""
        return f'{self.index}-of-{self.count}'

    def select(self, surveys: Iterable[Survey]) -> list[Survey]:
        """Returns the bags of this machine: every `count`-th one, sorted by path.

        A bag belongs to one machine, so that no other one surveys it. All machines must be given
        equal bags.
        """
        ordered = sorted(surveys, key=lambda survey: survey.path)
        return ordered[self.index - 1 :: self.count]


SINGLE = Shard()


def part_name(number: int) -> str:
    """Returns the name of the files of a run, without ending."""
    return f'part-{number:05d}'


def plan_surveys(
    paths: Iterable[str | Path], known: Mapping[str, str] | None = None
) -> list[Survey]:
    """Plans the first units of bags; a bag that is given twice is taken once.

    Args:
        paths: bags, folders or files.
        known: folder names by path of the bags that an output has; they keep their names, which
            no other bag gets.
    """
    known = known or {}
    bags = list(dict.fromkeys(str(Path(path).resolve()) for path in paths))
    names = _folder_names([path for path in bags if path not in known], known.values())
    return [Survey(path, known.get(path) or names[path]) for path in bags]


def plan_runs(survey: Survey, result: Mapping[str, Any]) -> list[Run]:
    """Plans the runs of a bag, without the states of the mounting, which may be large.

    Args:
        survey: survey of the bag.
        result: its result.
    """
    count = result['count']
    return [
        Run(
            survey.path,
            survey.name,
            number,
            first,
            min(RUN_FRAMES, count - first),
        )
        for number, first in enumerate(range(0, count, RUN_FRAMES))
    ]


def with_mounting(run: Run, result: Mapping[str, Any]) -> Run:
    """Returns a run with the state of the mounting before it.

    Args:
        run: run of a bag.
        result: result of the survey of the bag.
    """
    states = result.get('mounting')
    return replace(run, mounting=states[run.number]) if states else run


def _folder_names(paths: list[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Returns a unique folder name for each path, whatever the order of the paths.

    Args:
        paths: bags that need a name.
        taken: names of other bags.

    A name is the base name of the path, with as many of its parent folders as make it unique.
    Names that are still equal, because special characters were replaced, get a hash of the path.
    """
    others = Counter(name.casefold() for name in taken)
    depths = dict.fromkeys(paths, 1)
    names = {path: _safe_name(path, 1) for path in paths}
    for _ in range(max((len(Path(path).parts) for path in paths), default=0)):
        used = others + Counter(name.casefold() for name in names.values())
        alike = [path for path in paths if used[names[path].casefold()] > 1]
        for path in alike:
            depths[path] += 1
            names[path] = _safe_name(path, depths[path])
    used = others + Counter(name.casefold() for name in names.values())
    for path in paths:
        if used[names[path].casefold()] > 1:
            digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
            names[path] = f'{names[path]}-{digest}'
    return names


def _safe_name(path: str, depth: int) -> str:
    """Returns the last parts of a path as one file name that every file system and shell takes."""
    text = unicodedata.normalize('NFC', '-'.join(Path(path).parts[1:][-depth:]))
    # Readers of Parquet ignore folders that begin with . or _.
    return re.sub(r'[^\w.-]+', '_', text)[-_NAME_LENGTH:].strip('._-') or 'bag'
