# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections and drivable area of a run as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from tiny_bev_ros.detector_result import DetectedObject
from tiny_bev_ros.extraction.run_rows import DetectionRows, FrameRows, stored_drivable
from tiny_bev_ros.models.heads.detection import CLASSES

if TYPE_CHECKING:
    from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame
    from tiny_bev_ros.grid import Axis, BevGrid

# Only key of the metadata: the order of several keys differs between processes.
_METADATA = 'tiny_bev_ros'
# Order of the values of a box: fields of an object after its label and score.
_BOX = DetectedObject._fields[2:]


class DetectionArrays:
    """File with the detections of a run.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, DetectionRows()

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        self._rows.add(frame)

    def close(self) -> None:
        """Writes the file."""
        rows = self._rows
        arrays = {
            'boxes': rows.boxes,
            'scores': rows.scores,
            'labels': rows.class_ids,
            'offsets': np.concatenate([np.zeros(1, np.int64), np.cumsum(rows.counts)]),
        }
        write_arrays(self._path, rows.frames, arrays, {'box': _BOX, 'classes': CLASSES})


class DrivableArrays:
    """File with the drivable areas of a run.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._frames = path, FrameRows()
        self._maps: list[np.ndarray] = []
        self._heights: list[float | None] = []
        self._grid: BevGrid | None = None

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        self._maps.append(stored_drivable(frame.result))
        self._heights.append(frame.result.road_height)
        self._grid = frame.result.grid
        self._frames.add(frame)

    def close(self) -> None:
        """Writes the file."""
        maps = np.stack(self._maps) if self._maps else np.empty((0, 0, 0), np.uint8)
        # None becomes NaN.
        arrays = {'drivable': maps, 'height_m': np.array(self._heights, np.float32)}
        grid = self._grid
        axes = {} if grid is None else axes_entry(grid.x_axis, grid.y_axis)
        write_arrays(self._path, self._frames, arrays, axes)


def axes_entry(x_axis: Axis, y_axis: Axis) -> dict[str, Any]:
    """Returns the entry of the metadata for the axes of maps, in metres."""
    return {
        'x_axis': {'origin': x_axis.origin, 'step': x_axis.step},
        'y_axis': {'origin': y_axis.origin, 'step': y_axis.step},
    }


def write_arrays(
    path: Path, frames: FrameRows, arrays: dict[str, np.ndarray], metadata: dict[str, Any]
) -> None:
    """Writes a file with arrays of successive frames, and their indices and stamps.

    Args:
        path: path of the file, whose folder is made.
        frames: identity of each frame.
        arrays: arrays by name.
        metadata: further entries of the metadata.

    Raises:
        OSError: the file cannot be written.
    """
    identity = {
        'frame': np.array(frames.indices, np.int64),
        'stamp_ns': np.array(frames.stamps_ns, np.int64),
        'time_ns': np.array(frames.times_ns, np.int64),
    }
    bag = frames.bags[0] if frames.bags else path.parent.name
    entries = {'bag': bag, 'frame_ids': frames.frame_ids, **metadata}
    # Python writes the file, as its OSError tells a full disk apart from other errors.
    content = save({**arrays, **identity}, {_METADATA: json.dumps(entries)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
