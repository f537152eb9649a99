# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detectors from the parameters of pipeline_node: the same results for the same clouds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from absent_packages import RCLPY, run_without
from log_recorder import Recorder
from node_bench import process
from recording_node import RecordingNode
from second_stages import save_with_second_stage

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.detector_result import DetectorResult
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import decode_cloud, encode_cloud
from tiny_bev_ros.nodes.detector_factory import make_detector
from tiny_bev_ros.nodes.head_publishers import HeadFrame
from tiny_bev_ros.nodes.model_factory import make_cloud_options
from tiny_bev_ros.nodes.parameter_files import read_parameters
from tiny_bev_ros.resources import WEIGHTS
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan

SMALL = {'device': 'cpu', 'num_threads': 1, 'weights': 'street'}
NEAR = {'grid.x_range': [-12.8, 25.6], 'grid.y_range': [-12.8, 12.8]}
FAR = {'grid.x_range': [4987.2, 5025.6], 'grid.y_range': [-12.8, 12.8]}
# Parameters, and the mounting of the sensor.
CASES: dict[str, tuple[dict[str, Any], Mounting]] = {
    'nominal': (NEAR, Mounting()),
    'low': ({**NEAR, 'cloud.self_box': [-1.0, 1.0, -0.5, 0.5, -0.6, 0.2]}, Mounting(0.6)),
    'given height': ({**NEAR, 'cloud.sensor_height': 0.6}, Mounting(0.6)),
    'far': (FAR, Mounting()),
    'no second stage': ({**NEAR, 'detection.refine_boxes': False}, Mounting()),
    'scores': (
        {**NEAR, 'detection.min_score.vehicle': 0.7, 'detection.min_score.cyclist': 0.1},
        Mounting(),
    ),
    'drivable area alone': ({**NEAR, 'heads.names': ['drivable']}, Mounting(0.6)),
    'no heads': ({**NEAR, 'heads.names': []}, Mounting(0.6)),
}


@functools.lru_cache
def scan_from(mounting: Mounting, seconds: float) -> np.ndarray:
    pose = ego_pose(street_plan(1), seconds)
    return scan(street(1), LIDARS['vlp16'], pose, 1, mounting).points


def clouds_of(case: str) -> list[Any]:
    """Returns four successive messages; the third is empty, so that no road is found in it."""
    given, mounting = CASES[case]
    shift = np.float32([5000.0 if given['grid.x_range'][0] > 0 else 0.0, 0.0, 0.0, 0.0])
    clouds = [scan_from(mounting, seconds) for seconds in (3.0, 3.2, 3.4)]
    clouds.insert(2, clouds[0][:0])
    return [
        encode_cloud(points + shift, (1 + number, 0), 'lidar')
        for number, points in enumerate(clouds)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def written(values: dict[str, Any]) -> Path:
        path = tmp_path / 'mine.yaml'
        path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {**SMALL, **values}}}))
        return path

    return written


@pytest.fixture
def stations() -> Iterator[Callable[[Path], RecordingNode]]:
    made: list[RecordingNode] = []
    threads = torch.get_num_threads()

    def make(path: Path) -> RecordingNode:
        made.append(RecordingNode(path))
        return made[-1]

    yield make
    for each in made:
        each.close()
    torch.set_num_threads(threads)


@pytest.mark.parametrize('case', CASES)
def test_results_are_those_of_the_node(case: str, write, stations):
    path, messages = write(CASES[case][0]), clouds_of(case)
    station = stations(path)
    values = read_parameters('pipeline_node', [path])
    detector, options = make_detector(values), make_cloud_options(values)
    height = 0.0
    for message in messages:
        process(station.node, message)
        points = decode_cloud(message, options, origin=detector.grid.reference).points
        result = detector.detect_local(points)
        assert torch.equal(result.features, station.features[-1])
        frame = station.frames[-1]
        assert (frame is None) == (not values['heads.names'])
        if frame is None:
            assert result.drivable is result.road_height is None
            continue
        height = height if result.road_height is None else result.road_height
        check_heads(result, frame)
        assert np.array_equal(result.observed, frame.known)
        assert height == pytest.approx(frame.height, abs=1e-6)
    if values['heads.names']:
        assert -3 < height < -0.2
    is_low = case in ('low', 'drivable area alone', 'given height')
    assert detector.mounting.height_corrected == is_low


def check_heads(result: DetectorResult, frame: HeadFrame) -> None:
    found = frame.outputs.detections
    assert (found is None) == (result.heads.detections is None)
    if found is not None:
        assert result.boxes == pytest.approx(found.boxes.numpy(), abs=1e-4)
        assert result.scores == pytest.approx(found.scores.numpy(), abs=1e-4)
        assert np.array_equal(result.label_ids, found.labels.numpy())
    assert np.array_equal(result.drivable, frame.outputs['drivable'].numpy())


def test_levelling_is_as_the_weights_were_trained(write, tmp_path: Path):
    """The estimate is for weights of levelled clouds alone, as in the node."""
    street_weights = read_parameters('pipeline_node', [write(NEAR)])
    assert make_detector(street_weights).tracker is not None
    path = save_with_second_stage(tmp_path / 'mine.safetensors')
    own = read_parameters('pipeline_node', [], {'device': 'cpu'}, weights=path)
    assert make_detector(own).tracker is None


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'cameras': ['front']}, "parameter cameras is ['front']; expected [''], as clouds alone"),
        ({'cloud.target_frame': 'map'}, "parameter cloud.target_frame is 'map'; expected ''"),
        ({'backbone.in_channels': 8}, 'parameter backbone.in_channels is 8; expected 32'),
        ({'cloud.time_field': 't'}, "parameter cloud.time_field is 't'; expected ''"),
        ({'cloud.self_box': [1.0]}, 'parameter cloud.self_box is [1.0]; expected 6'),
    ],
)
def test_parameters_that_it_cannot_follow_are_one_error(write, values: Any, message: str):
    with pytest.raises(TinyBevError) as caught:
        make_detector(read_parameters('pipeline_node', [write({**NEAR, **values})]))
    assert str(caught.value).startswith(message)


def test_a_weight_file_is_as_its_values_in_a_parameter_file(tmp_path: Path):
    path = save_with_second_stage(tmp_path / 'mine.safetensors')
    mine = tmp_path / 'mine.yaml'
    mine.write_text(
        yaml.safe_dump(
            {
                'pipeline_node': {
                    'ros__parameters': {
                        'weights': 'none',
                        'grid.x_range': [0.0, 128.0],
                        'grid.y_range': [-64.0, 64.0],
                        'grid.z_range': [-3.0, 1.0],
                        'grid.resolution': 0.5,
                        'pfn.out_channels': 8,
                        'backbone.name': 'tiny',
                        'backbone.in_channels': 8,
                        'backbone.mid_channels': 8,
                        'backbone.out_channels': 8,
                        **dict.fromkeys(
                            ['pfn.checkpoint', 'backbone.checkpoint', 'heads.checkpoint'],
                            str(path),
                        ),
                    }
                }
            }
        )
    )
    found = read_parameters('pipeline_node', [], {'device': 'cpu'}, weights=path)
    assert found == read_parameters('pipeline_node', [mine], {'device': 'cpu'})
    points = scan_from(Mounting(), 3.0)
    result, wanted = make_detector(found)(points), Detector(path, device='cpu')(points)
    assert torch.equal(result.features, wanted.features)
    assert np.array_equal(result.boxes, wanted.boxes)


def test_what_files_give_wins_over_the_defaults_of_a_weight_file(tmp_path: Path, write):
    path = save_with_second_stage(tmp_path / 'mine.safetensors')
    grid = {'grid.x_range': [-16.0, 16.0], 'heads.names': ['drivable'], 'weights': 'none'}
    found = read_parameters('pipeline_node', [write(grid)], weights=path)
    assert (found['grid.x_range'], found['heads.names']) == ([-16.0, 16.0], ['drivable'])
    assert found['grid.y_range'] == [-64.0, 64.0]


def test_names_of_weights_are_the_parameter():
    for name in WEIGHTS:
        found = read_parameters('pipeline_node', [], weights=name)
        assert found == read_parameters('pipeline_node', [], {'weights': name})
        assert found['weights'] == name
    with pytest.raises(TinyBevError, match=r"weights is 'absent\.pt'; expected street, or the"):
        read_parameters('pipeline_node', [], weights='absent.pt')


def test_device_and_weights_are_logged(write):
    log = Recorder()
    make_detector(read_parameters('pipeline_node', [write(NEAR)]), log)  # type: ignore[arg-type]
    assert log.lines[0] == 'device: computing on cpu'
    assert [line.split(':')[0] for line in log.lines[1:4]] == [
        'pfn.checkpoint',
        'backbone.checkpoint',
        'heads.checkpoint',
    ]


def test_rclpy_is_not_needed(write):
    code = f"""
from tiny_bev_ros.nodes.detector_factory import make_detector
from tiny_bev_ros.nodes.parameter_files import read_parameters
make_detector(read_parameters('pipeline_node', [{str(write(NEAR))!r}]))
"""
    run_without(RCLPY, code)
