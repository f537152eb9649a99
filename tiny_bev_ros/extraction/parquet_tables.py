# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections and drivable area of a run as Parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiny_bev_ros.extraction.run_rows import DetectionRows, FrameRows, stored_drivable
from tiny_bev_ros.models.heads.detection import CLASSES

if TYPE_CHECKING:
    from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame

# Column of the maps, each of which is compressed on its own.
_MAP = 'map'
_ZSTD_LEVEL = 3


class Column(NamedTuple):
    """Column of a table.

    Attributes:
        type: name of the Arrow type.
        unit: unit of the values; '' for none.
        meaning: meaning in one line.
        nullable: True where a value may be missing.
    """

    type: str
    unit: str
    meaning: str
    nullable: bool = False


_FRAME = {
    'bag': Column('string', '', 'name of the bag in the output folder'),
    'frame': Column('int64', '', 'index of the cloud in the bag, from 0'),
    'stamp_ns': Column('int64', 'ns', 'stamp of the cloud, since 1970'),
    'time_ns': Column('int64', 'ns', 'time of recording, since 1970'),
    'frame_id': Column('string', '', 'coordinate frame of the cloud and the results'),
}
_BOX = {
    'x': Column('float32', 'm', 'centre, forward'),
    'y': Column('float32', 'm', 'centre, left'),
    'z': Column('float32', 'm', 'centre, up'),
    'length': Column('float32', 'm', 'size along the heading'),
    'width': Column('float32', 'm', 'size across the heading'),
    'height': Column('float32', 'm', 'size along z'),
    'yaw': Column('float32', 'rad', 'heading, from the x axis towards the y axis'),
}
TABLES = {
    'detections': {
        **_FRAME,
        'class': Column('string', '', ', '.join(CLASSES)),
        'score': Column('float32', '', 'confidence, 0 to 1'),
        **_BOX,
    },
    'frames': {**_FRAME, 'detections': Column('int32', '', 'number of detections')},
    'drivable': {
        **_FRAME,
        'height_m': Column('float32', 'm', 'height of the road in frame_id', nullable=True),
        'rows': Column('int32', '', 'rows of the map, along y'),
        'cols': Column('int32', '', 'columns of the map, along x'),
        'x_origin': Column('float64', 'm', 'lower edge of column 0'),
        'y_origin': Column('float64', 'm', 'lower edge of row 0'),
        'step': Column('float64', 'm', 'side of a cell'),
        _MAP: Column('binary', '', 'zstd of rows x cols uint8: 0 road to 100 other, 255 unknown'),
    },
}


class DetectionTables:
    """Tables `detections`, a row for each box, and `frames`, a row for each frame.

    Args:
        folder: folder of the tables' folders.
        name: name of the bag.
        file: name of the file in each table.
    """

    def __init__(self, folder: Path, name: str, file: str) -> None:
        self._folder, self._file = folder, f'{name}/{file}'
        self._rows = DetectionRows()

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        self._rows.add(frame)

    def close(self) -> None:
        """Writes both tables."""
        rows, counts = self._rows, self._rows.counts
        columns = _frame_columns(rows.frames)
        repeated = {
            key: [value for value, count in zip(values, counts, strict=True) for _ in range(count)]
            for key, values in columns.items()
        }
        classes = [CLASSES[index] for index in rows.class_ids]
        boxes = dict(zip(_BOX, np.ascontiguousarray(rows.boxes.T), strict=True))
        table = {**repeated, 'class': classes, 'score': rows.scores, **boxes}
        _write(self._folder, 'detections', self._file, table)
        _write(self._folder, 'frames', self._file, {**columns, 'detections': counts})


class DrivableTable:
    """Table `drivable`: a row for each frame, with a compressed map.

    Args:
        folder: folder of the table's folder.
        name: name of the bag.
        file: name of the file.
    """

    def __init__(self, folder: Path, name: str, file: str) -> None:
        self._folder, self._file = folder, f'{name}/{file}'
        self._frames = FrameRows()
        self._rows: list[dict[str, Any]] = []
        self._codec = pa.Codec('zstd', compression_level=_ZSTD_LEVEL)

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        values, grid = stored_drivable(frame.result), frame.result.grid
        self._frames.add(frame)
        self._rows.append(
            {
                'height_m': frame.result.road_height,
                'rows': values.shape[0],
                'cols': values.shape[1],
                'x_origin': grid.x_axis.origin,
                'y_origin': grid.y_axis.origin,
                'step': grid.resolution,
                _MAP: self._codec.compress(values.tobytes(), asbytes=True),
            }
        )

    def close(self) -> None:
        """Writes the table."""
        own = [key for key in TABLES['drivable'] if key not in _FRAME]
        columns = {key: [row[key] for row in self._rows] for key in own}
        _write(self._folder, 'drivable', self._file, {**_frame_columns(self._frames), **columns})


def _frame_columns(rows: FrameRows) -> dict[str, list[Any]]:
    values = (rows.bags, rows.indices, rows.stamps_ns, rows.times_ns, rows.frame_ids)
    return dict(zip(_FRAME, values, strict=True))


def _schema(table: str) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                name,
                pa.type_for_alias(column.type),
                column.nullable,
                {'unit': column.unit, 'meaning': column.meaning},
            )
            for name, column in TABLES[table].items()
        ]
    )


def _write(folder: Path, table: str, file: str, columns: dict[str, Any]) -> None:
    schema = _schema(table)
    texts = [name for name, column in TABLES[table].items() if column.type == 'string']
    # Python writes the file, as its OSError tells a full disk apart from other errors.
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema),
        buffer,
        compression={name: 'none' if name == _MAP else 'zstd' for name in columns},
        use_dictionary=texts,
    )
    path = folder / table / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getbuffer())
