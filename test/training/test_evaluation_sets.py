# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Named sets: their names, geometry, recorded data, and errors."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training import nuscenes_argoverse
from tiny_bev_ros.training.evaluation_sets import (
    NAMES,
    SIMULATED,
    open_set,
    parse_names,
    title_of,
)
from tiny_bev_ros.training.labelled_frame import GROUND
from tiny_bev_ros.training.nuscenes_argoverse import (
    MissingDataError,
    argoverse_frames,
    nuscenes_frames,
)

SEED = 1


@pytest.fixture(scope='module')
def level():
    return SIMULATED['sim'].frame(SEED)


def ground_plane(frame):
    """Slopes along x and y, and height at the sensor, of the labelled ground ahead and behind."""
    ground = frame.lidar.points[frame.lidar.instance_ids == GROUND][:, :3].astype(float)
    ground = ground[(np.abs(ground[:, :2]) < (6, 1.2)).all(axis=1)]
    columns = np.column_stack([ground[:, :2], np.ones(len(ground))])
    return np.linalg.lstsq(columns, ground[:, 2], rcond=None)[0]


def test_names_are_parsed():
    assert parse_names('all') == list(NAMES)
    assert parse_names('sim, kitti,sim') == ['sim', 'kitti']
    with pytest.raises(
        TinyBevError, match=r"sets has 'simulated'; expected all, or some of sim, "
    ):
        parse_names('sim,simulated')


def test_every_set_has_a_title():
    titles = [title_of(name, 'vlp32') for name in NAMES]
    assert len(set(titles)) == len(NAMES)
    assert not any('{' in title for title in titles)
    assert 'os1_64' in title_of('low', 'os1_64')
    assert 'hdl64' in title_of('hdl64', 'os1_64')


def test_a_set_has_the_frames_of_its_seeds(level):
    opened = open_set('sim', 2, 'vlp32', None)
    frames = list(opened.frames)
    assert (opened.length, opened.ahead) == (2, False)
    assert [frame.name for frame in frames] == ['0', '1']
    assert np.array_equal(frames[1].lidar.points, level.lidar.points)


def test_turned_frames_are_those_of_sim_at_45_degrees(level):
    turned = SIMULATED['sim_45'].frame(SEED)
    half = math.sqrt(0.5)
    x, y, z = level.lidar.points[:, :3].T
    expected = np.stack([half * (x - y), half * (x + y), z], axis=1)
    np.testing.assert_allclose(turned.lidar.points[:, :3], expected, atol=1e-4)
    boxes, before = turned.lidar.boxes, level.lidar.boxes
    np.testing.assert_allclose(boxes[:, 3:6], before[:, 3:6])
    np.testing.assert_allclose(
        np.exp(1j * boxes[:, 6]), np.exp(1j * (before[:, 6] + math.pi / 4)), atol=1e-4
    )
    required = [truth.required for truth in turned.truths['visible']]
    distance = [np.hypot(*truth.boxes[:, :2].T) for truth in turned.truths['visible']]
    assert max(np.concatenate(distance)[np.concatenate(required)]) < 50
    # All that sim requires, but for the corners of its square.
    for truth, same, far in zip(level.truths['visible'], required, distance, strict=True):
        assert (same == (truth.required & (far < 50))).all()
    on_road = level.lidar.road.drivable_at(x, y)
    assert on_road.any() and not on_road.all()
    # Cells of the map's border may change by rounding.
    same = turned.lidar.road.drivable_at(*expected[:, :2].T) == on_road
    assert same.mean() > 0.999


def test_low_and_tilted_sensors_are_mounted_so(level):
    low, tilted = SIMULATED['low'].frame(SEED), SIMULATED['tilted'].frame(SEED)
    assert ground_plane(low)[2] == pytest.approx(-0.4, abs=0.05)
    assert ground_plane(tilted)[2] == pytest.approx(-1.73, abs=0.1)
    # A nose that points down sees the ground rise ahead.
    rise = np.degrees(ground_plane(tilted)[0] - ground_plane(low)[0])
    assert rise == pytest.approx(5, abs=0.7)
    assert not np.array_equal(low.lidar.points, level.lidar.points)


def test_sensors_stand_on_the_same_streets(level):
    for name in ('low', 'hdl64'):
        frame = SIMULATED[name].frame(SEED).lidar
        assert np.array_equal(frame.labels, level.lidar.labels)
        moved = (frame.boxes - level.lidar.boxes)[:, :2]
        assert np.abs(moved).max() < 0.5


def test_objects_far_from_a_short_sighted_sensor_are_not_required():
    assert SIMULATED['livox'].reach == 25
    assert SIMULATED['livox'].mounting.height == 0.5


@pytest.mark.skipif('mid360' not in LIDARS, reason='no Livox sensor is simulated')
def test_livox_frames():
    frame = SIMULATED['livox'].frame(SEED)
    assert ground_plane(frame)[2] == pytest.approx(-0.5, abs=0.05)
    for truth in frame.truths['visible']:
        assert (np.abs(truth.boxes[truth.required, :2]) < 25).all()


def test_missing_data_are_reported(tmp_path):
    for name, text in {
        'kitti': 'holds no label_2; expected a folder in the form of KITTI',
        'nuscenes': 'is no file; expected the sample of nuScenes',
        'argoverse2': r'holds no LOG/sensors/lidar/\*.feather; expected some',
    }.items():
        with pytest.raises(MissingDataError, match=text):
            open_set(name, 1, 'vlp32', tmp_path)


def test_a_sweep_of_nuscenes_is_turned_to_x_ahead(tmp_path):
    sweep = np.array([[1, 10, -1, 255, 0]] * 6 + [[-3, 20, 0, 51, 3]] * 6, np.float32)
    sweep.tofile(tmp_path / 'sweep.bin')
    instances = [
        {'bbox_label': 0, 'bbox_3d': [1, 10, -1, 4, 2, 2, np.pi / 2]},
        {'bbox_label': 1, 'bbox_3d': [-3, 20, 0, 8, 2, 3, np.pi]},
        {'bbox_label': -1, 'bbox_3d': [0, 0, 0, 1, 1, 1, 0]},
    ]
    info = {
        'metainfo': {'categories': {'car': 0, 'trailer': 1}},
        'data_list': [{'lidar_points': {'lidar_path': 'sweep.bin'}, 'instances': instances}],
    }
    (tmp_path / 'info_derived.json').write_text(json.dumps(info))
    (frame,) = nuscenes_frames(tmp_path, 50.0)
    assert frame.lidar.points[0].tolist() == [10, -1, -1, 1]
    vehicles = frame.truths['visible'][0]
    np.testing.assert_allclose(vehicles.boxes[0], [10, -1, -1, 4, 2, 2, 0], atol=1e-6)
    np.testing.assert_allclose(vehicles.boxes[1], [20, 3, 0, 8, 2, 3, np.pi / 2], atol=1e-6)
    # A trailer only resembles a vehicle.
    assert vehicles.required.tolist() == [True, False]
    assert frame.lidar.counts.tolist() == [6, 6, 0]


class FakeColumn(list):
    """Column of a table of pyarrow."""

    def to_numpy(self):
        return np.array(self)

    def to_pylist(self):
        return list(self)


def test_sweeps_of_argoverse_are_in_the_order_of_time(tmp_path, monkeypatch):
    folder = tmp_path / 'log/sensors/lidar'
    folder.mkdir(parents=True)
    for stamp in (200, 100):
        (folder / f'{stamp}.feather').touch()
    boxes = {
        'timestamp_ns': [100, 200, 200, 300],
        'category': ['PEDESTRIAN', 'BUS', 'VEHICULAR_TRAILER', 'BUS'],
        **{'tx_m': [5, 10, 20, 0], 'ty_m': [1, -2, 3, 0], 'tz_m': [1, 1, 1, 0]},
        **{'length_m': [1, 9, 8, 1], 'width_m': [1, 3, 2, 1], 'height_m': [2, 3, 2, 1]},
        # Yaws of 0, 90 and -90 degrees.
        **{'qw': [1, 0.5**0.5, -(0.5**0.5), 1], 'qz': [0, 0.5**0.5, 0.5**0.5, 0]},
    }
    positions = [(5, 1, 1)] * 5 + [(10, -2, 1)] * 6
    points = dict(zip('xyz', zip(*positions, strict=True), strict=True)) | {'intensity': [51] * 11}

    class Feather:
        @staticmethod
        def read_table(path):
            columns = boxes if path.name == 'annotations.feather' else points
            return {name: FakeColumn(values) for name, values in columns.items()}

    monkeypatch.setattr(nuscenes_argoverse, 'import_optional', lambda name: (Feather, ''))
    first, second = argoverse_frames(tmp_path, 50.0)
    assert (first.name, second.name) == ('100', '200')
    np.testing.assert_allclose(first.lidar.points[0], [5, 1, 1, 0.2], rtol=1e-6)
    assert first.truths['visible'][1].required.tolist() == [True]
    vehicles = second.truths['visible'][0]
    expected = [[10, -2, 1, 9, 3, 3, np.pi / 2], [20, 3, 1, 8, 2, 2, -np.pi / 2]]
    np.testing.assert_allclose(vehicles.boxes, expected, atol=1e-5)
    assert vehicles.required.tolist() == [True, False]
    boxes['timestamp_ns'] = [100] * 4
    with pytest.raises(MissingDataError, match=r'200.feather has no labels; expected some of it'):
        argoverse_frames(tmp_path, 50.0)


def test_recorded_sweeps_have_the_objects_of_the_model_card(data_dir):
    (frame,) = nuscenes_frames(data_dir / 'nuscenes_mini_sample', 50.0)
    assert [int(truth.required.sum()) for truth in frame.truths['visible']] == [5, 9, 0]
    # Cars stand on the ground, beside the sensor's 1.84 m.
    vehicles = frame.truths['visible'][0]
    bottom = (vehicles.boxes[:, 2] - vehicles.boxes[:, 5] / 2)[vehicles.required]
    assert -3.2 < bottom.mean() < 0


def test_sweeps_of_argoverse(data_dir):
    pytest.importorskip('pyarrow.feather')
    first, second = argoverse_frames(data_dir / 'av2', 50.0)
    required = [
        sum(int(frame.truths['visible'][label].required.sum()) for frame in (first, second))
        for label in range(len(CLASSES))
    ]
    assert required == [34, 8, 0]
    assert first.name < second.name
    assert first.lidar.points.dtype == np.float32


def test_without_pyarrow_argoverse_is_left_out(data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow.feather', None)
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(MissingDataError, match='expected pyarrow, which reads feather files'):
        argoverse_frames(data_dir / 'av2', 50.0)
