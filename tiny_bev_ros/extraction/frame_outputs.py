# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Outputs of `extract`: options, frames, and the writers of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tiny_bev_ros.detector_result import DetectorResult
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.work_units import part_name
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.optional_imports import import_optional

WHAT = ('detections', 'drivable', 'features')
FORMATS = ('parquet', 'safetensors', 'mcap')
DTYPES = ('float16', 'int8')
# Head of each output that needs one.
_HEADS = {'detections': 'detection', 'drivable': 'drivable'}
_MESSAGE_PACKAGES = ('geometry_msgs.msg', 'nav_msgs.msg', 'std_msgs.msg', 'visualization_msgs.msg')


@dataclass(frozen=True)
class ExtractedFrame:
    """Results for one cloud of a bag.

    Attributes:
        bag: name of the bag in the output folder.
        index: index of the cloud in the bag, from 0.
        time_ns: time of recording, nanoseconds since 1970.
        stamp: (sec, nanosec) of the cloud.
        frame_id: coordinate frame of the cloud and of all results.
        result: results of the detector.
    """

    bag: str
    index: int
    time_ns: int
    stamp: tuple[int, int]
    frame_id: str
    result: DetectorResult

    @property
    def stamp_ns(self) -> int:
        """Stamp of the cloud in nanoseconds."""
        return self.stamp[0] * 10**9 + self.stamp[1]


@dataclass(frozen=True)
class OutputOptions:
    """Selection and format of outputs.

    Attributes:
        what: outputs that are written, names of WHAT.
        format: format of FORMATS; features are safetensors in all but mcap.
        dtype: dtype of DTYPES of the features.
        roi: region to which features are cropped.

    Raises:
        TinyBevError: a value is no such name, ``what`` is empty, or mcap is combined with int8.
    """

    what: tuple[str, ...] = ('detections',)
    format: str = 'parquet'
    dtype: str = 'float16'
    roi: OutputRoi = dataclasses.field(default_factory=OutputRoi)

    def __post_init__(self) -> None:
        if not self.what or not set(self.what) <= set(WHAT):
            given = ','.join(self.what) or 'empty'
            raise TinyBevError(f'what is {given}; expected some of {", ".join(WHAT)}')
        for name, values in (('format', FORMATS), ('dtype', DTYPES)):
            if (value := getattr(self, name)) not in values:
                raise TinyBevError(f'{name} is {value}; expected one of {", ".join(values)}')
        if self.format == 'mcap' and self.dtype == 'int8':
            raise TinyBevError(
                'dtype is int8; expected float16 with format mcap, as messages have no scales'
            )


class RunWriter(Protocol):
    """Writer of one output of a run."""

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame.

        Raises:
            TinyBevError: the output of this frame cannot be written; nothing of it is kept.
            OSError: a file cannot be written.
        """

    def close(self) -> None:
        """Completes the files; without this call they are incomplete or missing.

        Raises:
            OSError: a file cannot be written.
        """


def check_packages(options: OutputOptions) -> None:
    """Raises TinyBevError when a package that the outputs need cannot be used."""
    needed: tuple[str, ...] = ()
    if options.format == 'mcap':
        needed = _MESSAGE_PACKAGES
    elif options.format == 'parquet' and set(options.what) != {'features'}:
        needed = ('pyarrow',)
    for name in needed:
        if reason := import_optional(name).reason:
            raise TinyBevError(
                f'format is {options.format}, but {reason}; expected that package, '
                'or format safetensors'
            )


def check_heads(options: OutputOptions, heads: Collection[str]) -> None:
    """Raises TinyBevError when there is no head for an output, by `heads.names`."""
    for what in options.what:
        if what in _HEADS and _HEADS[what] not in heads:
            raise TinyBevError(
                f'what is {",".join(options.what)}, but parameter heads.names is {list(heads)}; '
                f'expected {_HEADS[what]} among the heads'
            )


def make_writers(options: OutputOptions, folder: Path, name: str, number: int) -> list[RunWriter]:
    """Makes the writers of a run; every frame goes to each, in this order.

    The writer of features comes first: it refuses frames with values beyond the range of their
    dtype, and a frame that it refuses is in no output.

    Args:
        options: selection and format.
        folder: empty folder below which files are written, in the tree of the output folder.
        name: name of the bag in the output folder.
        number: number of the run.

    Raises:
        TinyBevError: a package that the outputs need cannot be used.
        OSError: a folder or file cannot be made.
    """
    check_packages(options)
    part = part_name(number)
    if options.format == 'mcap':
        from tiny_bev_ros.extraction.message_file import MessageFile

        return [MessageFile(options, folder / 'messages' / name / f'{part}.mcap')]
    writers: list[RunWriter] = []
    if 'features' in options.what:
        from tiny_bev_ros.extraction.feature_files import FeatureFiles

        writers.append(FeatureFiles(options.dtype, options.roi, folder / 'features' / name / part))
    if options.format == 'parquet':
        if 'detections' in options.what:
            from tiny_bev_ros.extraction.parquet_tables import DetectionTables

            writers.append(DetectionTables(folder, name, f'{part}.parquet'))
        if 'drivable' in options.what:
            from tiny_bev_ros.extraction.parquet_tables import DrivableTable

            writers.append(DrivableTable(folder, name, f'{part}.parquet'))
    else:
        from tiny_bev_ros.extraction.array_files import DetectionArrays, DrivableArrays

        if 'detections' in options.what:
            writers.append(DetectionArrays(folder / 'detections' / name / f'{part}.safetensors'))
        if 'drivable' in options.what:
            writers.append(DrivableArrays(folder / 'drivable' / name / f'{part}.safetensors'))
    return writers
