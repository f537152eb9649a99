# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections and drivable area as Parquet, read back by pyarrow."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('pyarrow')

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from extracted_frames import DELAY_NS, made_up_frames, with_ground, write_run
from markdown_page import DOCS, rows

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions
from tiny_bev_ros.extraction.parquet_tables import TABLES
from tiny_bev_ros.inference.head_runner import HeadOutputs

OPTIONS = OutputOptions(('detections', 'drivable'), 'parquet')


def read(folder: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / table).to_pylist()


def identity(frame: ExtractedFrame) -> dict[str, Any]:
    return {
        'bag': 'street',
        'frame': frame.index,
        'stamp_ns': frame.stamp_ns,
        'time_ns': frame.stamp_ns + DELAY_NS,
        'frame_id': 'lidar',
    }


def test_detections_are_read_back(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, OPTIONS, frames)
    box = ('x', 'y', 'z', 'length', 'width', 'height', 'yaw')
    expected = [
        {
            **identity(frame),
            'class': label,
            'score': score,
            **dict(zip(box, values, strict=True)),
        }
        for frame in frames
        for label, score, values in zip(
            frame.result.labels,
            frame.result.scores.tolist(),
            frame.result.boxes.tolist(),
            strict=True,
        )
    ]
    assert len(expected) > 2
    assert read(tmp_path, 'detections') == expected


def test_a_frame_without_boxes_is_in_the_frames(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, OPTIONS, frames)
    counts = [len(frame.result.boxes) for frame in frames]
    assert counts[1] == 0
    expected = [
        {**identity(frame), 'detections': count}
        for frame, count in zip(frames, counts, strict=True)
    ]
    assert read(tmp_path, 'frames') == expected


@pytest.mark.parametrize('count', [0, 1])
def test_a_run_without_boxes_has_the_same_columns(tmp_path: Path, count: int):
    write_run(tmp_path, OPTIONS, made_up_frames(count))
    for table, columns in TABLES.items():
        found = pq.read_table(tmp_path / table)
        assert found.column_names == list(columns)
        assert found.num_rows == (0 if table == 'detections' else count)


def test_drivable_area_is_read_back(tmp_path: Path, frames: list[ExtractedFrame]):
    unknown = frames[1].result
    frames = [
        frames[0],
        frames[1].__class__(**{**vars(frames[1]), 'result': with_ground(unknown, None)}),
    ]
    write_run(tmp_path, OPTIONS, frames)
    found = read(tmp_path, 'drivable')
    assert [row['height_m'] for row in found] == [pytest.approx(-1.7), None]
    for row, frame in zip(found, frames, strict=True):
        result = frame.result
        assert {key: row[key] for key in identity(frame)} == identity(frame)
        raw = pa.decompress(row['map'], row['rows'] * row['cols'], 'zstd')
        values = np.frombuffer(raw, np.uint8).reshape(row['rows'], row['cols'])
        assert result.drivable is not None
        percent = np.rint(100 * (1 - result.drivable))
        np.testing.assert_array_equal(values, np.where(result.observed, percent, 255))
        assert (row['x_origin'], row['y_origin']) == (0.0, -12.8)
        assert row['step'] == result.grid.resolution


def test_columns_state_types_and_units(tmp_path: Path):
    write_run(tmp_path, OPTIONS, made_up_frames(1))
    for table, columns in TABLES.items():
        (path,) = (tmp_path / table).rglob('*.parquet')
        schema = pq.read_schema(path)
        for name, column in columns.items():
            field = schema.field(name)
            assert str(field.type) == column.type.replace('float32', 'float').replace(
                'float64', 'double'
            )
            assert field.metadata[b'unit'].decode() == column.unit
            assert field.nullable == column.nullable


def test_strings_are_dictionary_coded_and_columns_compressed(tmp_path: Path):
    write_run(tmp_path, OPTIONS, made_up_frames(5))
    (path,) = (tmp_path / 'detections').rglob('*.parquet')
    group = pq.read_metadata(path).row_group(0)
    for index, (name, column) in enumerate(TABLES['detections'].items()):
        stored = group.column(index)
        assert stored.path_in_schema == name
        assert stored.compression == 'ZSTD'
        assert ('RLE_DICTIONARY' in stored.encodings) == (column.type == 'string')


@pytest.mark.parametrize('what', ['detections', 'drivable'])
def test_a_missing_head_is_an_error(tmp_path: Path, what: str):
    (frame,) = made_up_frames(1)
    headless = with_ground(frame.result, heads=HeadOutputs())
    frame = frame.__class__(**{**vars(frame), 'result': headless})
    with pytest.raises(TinyBevError, match=r'results have no .*; expected'):
        write_run(tmp_path, OutputOptions((what,)), [frame])


def test_tables_of_the_page_are_those_of_the_files():
    text = (DOCS / 'extraction.md').read_text()
    for table, columns in TABLES.items():
        section = text.split(f'\n### `{table}`\n')[1].split('\n##')[0]
        listed = [(row[0].strip('`'), row[1], row[2]) for row in rows(section)]
        assert listed == [(name, each.type, each.unit) for name, each in columns.items()]
