# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detections and drivable area as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extracted_frames import made_up_frames, write_run
from safetensors import safe_open

from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions
from tiny_bev_ros.models.heads.detection import CLASSES

OPTIONS = OutputOptions(('detections', 'drivable'), 'safetensors')


def read(folder: Path, what: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safe_open(folder / what / 'street/part-00001.safetensors', 'np') as file:
        metadata = file.metadata()
        assert list(metadata) == ['tiny_bev_ros']
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return arrays, json.loads(metadata['tiny_bev_ros'])


def check_identity(
    arrays: dict[str, np.ndarray], entries: dict[str, Any], frames: list[ExtractedFrame]
) -> None:
    assert arrays['frame'].tolist() == [frame.index for frame in frames]
    assert arrays['stamp_ns'].tolist() == [frame.stamp_ns for frame in frames]
    assert arrays['time_ns'].tolist() == [frame.time_ns for frame in frames]
    assert entries['frame_ids'] == ['lidar'] * len(frames)
    assert entries['bag'] == 'street'


def test_detections_are_read_back(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, OPTIONS, frames)
    arrays, entries = read(tmp_path, 'detections')
    check_identity(arrays, entries, frames)
    assert entries['classes'] == list(CLASSES)
    ends = arrays['offsets']
    assert ends[1] == ends[2] < ends[3]  # the second frame has no points
    for frame, first, end in zip(frames, ends[:-1], ends[1:], strict=True):
        result = frame.result
        np.testing.assert_array_equal(arrays['boxes'][first:end], result.boxes)
        np.testing.assert_array_equal(arrays['scores'][first:end], result.scores)
        np.testing.assert_array_equal(arrays['labels'][first:end], result.label_ids)


def test_drivable_area_is_read_back(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, OPTIONS, frames)
    arrays, entries = read(tmp_path, 'drivable')
    check_identity(arrays, entries, frames)
    grid = frames[0].result.grid
    assert entries['x_axis'] == {'origin': 0.0, 'step': grid.resolution}
    assert entries['y_axis'] == {'origin': -12.8, 'step': grid.resolution}
    np.testing.assert_allclose(arrays['height_m'], [-1.7] * 3, rtol=1e-6)
    for values, frame in zip(arrays['drivable'], frames, strict=True):
        assert frame.result.drivable is not None
        percent = np.rint(100 * (1 - frame.result.drivable))
        np.testing.assert_array_equal(values, np.where(frame.result.observed, percent, 255))


@pytest.mark.parametrize('count', [0, 1])
def test_a_run_without_boxes_has_all_arrays(tmp_path: Path, count: int):
    write_run(tmp_path, OPTIONS, made_up_frames(count))
    arrays, entries = read(tmp_path, 'detections')
    assert arrays['boxes'].shape == (0, 7)
    assert arrays['offsets'].tolist() == [0] * (count + 1)
    assert entries['bag'] == 'street'
    assert len(read(tmp_path, 'drivable')[0]['drivable']) == count
