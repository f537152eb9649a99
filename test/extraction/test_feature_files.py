# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Features as safetensors: values, dtypes, region and size of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extracted_frames import frame_of, made_up_frames, with_ground, write_run
from safetensors import safe_open

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction import feature_files
from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions, make_writers
from tiny_bev_ros.extraction.parquet_tables import DetectionTables
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.tensor_labels import TensorLabels


def read(folder: Path, number: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    path = folder / f'features/street/part-00001-{number:03d}.safetensors'
    with safe_open(path, 'np') as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert list(metadata) == ['tiny_bev_ros']
    return arrays, json.loads(metadata['tiny_bev_ros'])


def options(dtype: str = 'float16', roi: OutputRoi | None = None) -> OutputOptions:
    return OutputOptions(('features',), 'safetensors', dtype, roi or OutputRoi())


def test_float16_features_are_read_back(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, options(), frames)
    arrays, entries = read(tmp_path)
    expected = torch.cat([frame.result.features for frame in frames]).half().numpy()
    np.testing.assert_array_equal(arrays['features'], expected)
    assert arrays['stamp_ns'].tolist() == [frame.stamp_ns for frame in frames]
    assert arrays['frame'].tolist() == [0, 2, 4]
    step = frames[0].result.grid.resolution
    assert entries == {
        'bag': 'street',
        'frame_ids': ['lidar'] * 3,
        'x_axis': {'origin': 0.0, 'step': step},
        'y_axis': {'origin': -12.8, 'step': step},
    }


def test_int8_features_are_within_half_a_scale(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, options('int8'), frames)
    arrays, _ = read(tmp_path)
    assert (arrays['features'].dtype, arrays['scale'].dtype) == (np.int8, np.float32)
    features = torch.cat([frame.result.features for frame in frames]).numpy()
    scale = arrays['scale'][:, :, None, None]
    largest = np.abs(features).max(axis=(2, 3))
    np.testing.assert_allclose(arrays['scale'], largest / 127, rtol=1e-6)
    error = np.abs(arrays['features'] * scale - features).max(axis=(2, 3))
    assert (error <= largest / 254 * 1.001).all()
    assert error.max() > 0


def test_a_channel_of_zeros_is_zero():
    encoded = feature_files.to_int8(torch.zeros(1, 2, 3, 4))
    assert not encoded['features'].any()
    assert not encoded['scale'].any()


@pytest.mark.parametrize('dtype', ['float16', 'int8'])
def test_region_is_that_of_the_node(tmp_path: Path, frames: list[ExtractedFrame], dtype: str):
    roi = OutputRoi((3.1, 12.0), (-4.0, 2.05))
    write_run(tmp_path, options(dtype, roi), frames)
    arrays, entries = read(tmp_path)
    grid, features = frames[0].result.grid, frames[0].result.features
    labels = TensorLabels((0, 0), 'lidar', grid.y_axis, grid.x_axis)
    expected, cropped = roi.crop(features, labels)
    assert expected.shape != features.shape
    assert cropped.x_axis is not None
    assert cropped.y_axis is not None
    assert entries['x_axis'] == {'origin': cropped.x_axis.origin, 'step': cropped.x_axis.step}
    assert entries['y_axis'] == {'origin': cropped.y_axis.origin, 'step': cropped.y_axis.step}
    encode = feature_files.to_int8 if dtype == 'int8' else feature_files.to_float16
    for name, values in encode(expected).items():
        np.testing.assert_array_equal(arrays[name][0], values)


def test_files_hold_at_most_16_frames(tmp_path: Path):
    frames = made_up_frames(33)
    paths = write_run(tmp_path, options(), frames)
    assert len(paths) == 3
    parts = [read(tmp_path, number)[0] for number in range(3)]
    assert [len(part['features']) for part in parts] == [16, 16, 1]
    assert np.concatenate([part['frame'] for part in parts]).tolist() == list(range(33))
    found = np.concatenate([part['features'] for part in parts])
    expected = torch.cat([frame.result.features for frame in frames]).half().numpy()
    np.testing.assert_array_equal(found, expected)


def test_files_are_bounded_in_bytes_and_written_as_frames_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    frames = made_up_frames(5)
    size = frames[0].result.features.numel() * 2
    monkeypatch.setattr(feature_files, '_MAX_BYTES', 2 * size + 1)
    (writer,) = make_writers(options(), tmp_path, 'street', 1)
    written = []
    for frame in frames:
        writer.add(frame)
        written.append(len(list(tmp_path.rglob('*.safetensors'))))
    assert written == [0, 1, 1, 2, 2]
    writer.close()
    assert len(read(tmp_path, 2)[0]['features']) == 1


@pytest.mark.parametrize(
    ('dtype', 'value', 'message'),
    [
        ('float16', 1e5, r'holds? 100000 at batch 0, channel 1, height 2, width 3; .*65504'),
        ('float16', float('nan'), 'nan at .*; expected a finite number'),
        ('int8', float('inf'), 'inf at batch 0, channel 1, height 2, width 3; expected a finite'),
        ('int8', float('nan'), 'nan at .*; expected a finite number'),
    ],
)
def test_values_beyond_the_dtype_are_an_error_of_their_frame(
    tmp_path: Path, dtype: str, value: float, message: str
):
    first, second = made_up_frames(2)
    features = first.result.features.clone()
    features[0, 1, 2, 3] = value
    wrong = frame_of(with_ground(first.result, features=features), 0)
    (writer,) = make_writers(options(dtype), tmp_path, 'street', 1)
    with pytest.raises(TinyBevError, match=message):
        writer.add(wrong)
    writer.add(second)
    writer.close()
    arrays, _ = read(tmp_path)
    assert arrays['frame'].tolist() == [1]


def test_large_values_fit_int8():
    features = torch.tensor([[[[1e6, -5e5]]]])
    encoded = feature_files.to_int8(features)
    assert encoded['features'].tolist() == [[[127, -64]]]


def test_features_are_written_before_other_outputs(tmp_path: Path):
    pytest.importorskip('pyarrow')
    first, second = make_writers(OutputOptions(('detections', 'features')), tmp_path, 'street', 0)
    assert isinstance(first, feature_files.FeatureFiles)
    assert isinstance(second, DetectionTables)
