# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds that pipeline_node levels: boxes, height of the road, diagnostics and log lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from log_recorder import Recorder
from node_bench import process, values_of
from rclpy.parameter import Parameter

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.nodes.camera_sync import CameraSync
from tiny_bev_ros.nodes.output_publisher import Subscribers
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan

NUMBERS = itertools.count()
RANGES: tuple[Any, Any] = ((-12.8, 25.6), (-12.8, 12.8))


class Station:
    """Active pipeline_node that processes clouds in the test's thread.

    Attributes:
        results: boxes and height of the drivable area of each cloud.
        frames: frames of the outputs.
    """

    def __init__(self, node: PipelineNode) -> None:
        self.node, self.log = node, Recorder()
        self.results: list[tuple[np.ndarray, float | None]] = []
        self.frames: list[str | None] = []
        assert node.start(), node.fault
        topics = frozenset({'detection_boxes', 'drivable_area'})
        node._next_subscribers = Subscribers(topics)
        node._note_subscribers = lambda: True  # type: ignore[method-assign]
        node._heads.publish = self._keep  # type: ignore[method-assign]
        node.get_logger = lambda: self.log  # type: ignore[method-assign]

    def give(self, points: np.ndarray, second: int = 1, frame: str = 'lidar') -> None:
        process(self.node, encode_cloud(points, (second, 0), frame))

    def _keep(self, outputs: Any, labels: Any, topics: Any, ground: Any) -> None:
        self.results.append((outputs.detections.boxes.numpy(), ground()[1]))
        self.frames.append(labels.frame_id)


@pytest.fixture
def station() -> Iterator[Callable[..., Station]]:
    context = rclpy.Context()
    context.init()
    nodes: list[PipelineNode] = []

    def make(**values: Any) -> Station:
        given = {
            'weights': 'street',
            'grid.x_range': list(RANGES[0]),
            'grid.y_range': list(RANGES[1]),
            'device': 'cpu',
            **{name.replace('__', '.'): value for name, value in values.items()},
        }
        overrides = [Parameter(name, value=each) for name, each in given.items()]
        namespace = f'/leveller_{next(NUMBERS)}'
        nodes.append(
            PipelineNode(context=context, namespace=namespace, parameter_overrides=overrides)
        )
        return Station(nodes[-1])

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def cloud(mounting: Mounting, seed: int = 0) -> np.ndarray:
    return scan(
        street(seed), LIDARS['vlp16'], ego_pose(street_plan(seed), 3.0), seed, mounting
    ).points


def mounting_of(station: Station) -> dict[str, str]:
    values = values_of(station.node)
    return {key: value for key, value in values.items() if key.startswith('sensor_')}


def test_boxes_and_road_are_in_the_frame_of_the_cloud(station):
    made, points = station(), cloud(Mounting(0.4))
    made.give(points)
    ((boxes, height),) = made.results
    detector = Detector('street', *RANGES, device='cpu')
    assert np.array_equal(boxes, detector(points).boxes)
    assert len(boxes)
    assert height == pytest.approx(-0.4, abs=0.1)
    values = mounting_of(made)
    assert float(values.pop('sensor_height_m')) == pytest.approx(0.4, abs=0.1)
    assert abs(float(values.pop('sensor_pitch_deg'))) < 1
    assert abs(float(values.pop('sensor_roll_deg'))) < 2
    assert int(values.pop('sensor_ground_m2')) > 30
    assert values == {'sensor_clouds': '1', 'sensor_corrected': 'height'}
    assert values_of(made.node)['points_in_self_box'] == '0'


def test_objects_around_the_sensor_are_counted(station):
    made = station()
    around = [0.2, 0.1, -1, 4, 1.8, 1.5, 0.1]
    away = [8.0, 0.1, -1, 4, 1.8, 1.5, 0.1]
    boxes = torch.tensor([around, away])
    found = Detections(boxes, torch.ones(2), torch.zeros(2, dtype=torch.long))
    made.node._run_heads = lambda *_: HeadOutputs(  # type: ignore[method-assign]
        {'detection': found, 'drivable': torch.zeros(made.node._feature_grid.shape)}
    )
    made.give(cloud(Mounting()))
    assert np.array_equal(made.results[0][0], boxes[1:].numpy())
    assert values_of(made.node)['objects_around_sensor'] == '1'


def test_a_correction_is_logged_when_it_begins_and_ends(station):
    made = station()
    for _ in range(3):
        made.give(cloud(Mounting(0.4)))
    (line,) = made.log.lines
    assert line.startswith('points: the origin is 0.4')
    assert line.endswith('degrees; corrected for the networks: height')
    for _ in range(6):
        made.give(cloud(Mounting(1.73)))
    assert len(made.log.lines) == 2
    assert made.log.lines[1].endswith('degrees; corrected for the networks: nothing')
    assert mounting_of(made)['sensor_corrected'] == 'none'


def test_the_estimate_starts_over_with_another_frame_and_another_round_of_a_bag(station):
    made = station()
    made.give(cloud(Mounting(0.4)), 100)
    made.give(cloud(Mounting(0.4)), 101)
    made.give(cloud(Mounting()), 102, 'other')
    assert mounting_of(made)['sensor_clouds'] == '1'
    assert mounting_of(made)['sensor_corrected'] == 'none'
    made.give(cloud(Mounting()), 103, 'other')
    assert mounting_of(made)['sensor_clouds'] == '2'
    made.give(cloud(Mounting(0.4)), 100, 'other')
    assert made.node.stats.restarts == 1
    assert mounting_of(made)['sensor_clouds'] == '1'
    assert mounting_of(made)['sensor_corrected'] == 'height'


def test_a_given_height_is_reported_and_nothing_is_estimated(station):
    made = station(cloud__sensor_height=1)
    points = cloud(Mounting(1.0))
    made.give(points)
    ((boxes, height),) = made.results
    fixed = Detector('street', *RANGES, device='cpu', sensor_height=1.0)
    assert np.array_equal(boxes, fixed(points).boxes)
    assert height == pytest.approx(-1.0, abs=0.1)
    assert mounting_of(made) == {
        'sensor_height_m': '1.00',
        'sensor_pitch_deg': '0.0',
        'sensor_roll_deg': '0.0',
        'sensor_ground_m2': '0',
        'sensor_clouds': '0',
        'sensor_corrected': 'height',
    }
    assert made.log.lines == []


def test_networks_without_trained_heads_get_clouds_as_they_are(station):
    made = station(weights='none')
    encoded: list[np.ndarray] = []
    run = made.node.run

    def recorded(stage: str, work: Any, *args: Any) -> Any:
        if stage == 'pillars':
            encoded.append(args[0])
        return run(stage, work, *args)

    made.node.run = recorded
    points = cloud(Mounting(0.4))
    made.give(points)
    assert np.array_equal(encoded[0], points)
    assert mounting_of(made)['sensor_height_m'] == 'unknown'
    assert mounting_of(made)['sensor_corrected'] == 'none'


def test_points_of_the_robot_are_counted_and_left_out(station):
    box = [-2.6, 2.1, -1.1, 1.1, -1.8, 0.0]
    points = cloud(Mounting())
    body = np.random.default_rng(0).uniform([-2.5, -1, -1.7, 0], [2, 1, -0.2, 1], (3000, 4))
    made = station(cloud__self_box=box)
    made.give(points)
    own = int(values_of(made.node)['points_in_self_box'])
    made.give(np.concatenate([points, body.astype(np.float32)]))
    assert int(values_of(made.node)['points_in_self_box']) == own + 3000
    assert int(values_of(made.node)['points_received']) == len(points) - own
    (alone, _), (left_out, _) = made.results
    assert np.array_equal(alone, left_out)


def test_cameras_are_posed_in_the_frame_of_levelled_points():
    levelling = Levelling(None, 0.4 - 1.73)
    decoded = SimpleNamespace(
        frame_id='cam',
        stamp=(1, 0),
        camera=Camera(torch.eye(3), torch.zeros(8), torch.eye(4), (40, 24)),
    )
    extrinsics = torch.eye(4, dtype=torch.float64)
    encoded: list[Camera] = []
    sync: Any = CameraSync.__new__(CameraSync)
    sync._extrinsics = SimpleNamespace(lookup=lambda *names: extrinsics)
    sync._encode = lambda image, camera: encoded.append(camera)
    for each in (None, levelling):
        sync._view('front', decoded, TensorLabels((1, 0), 'lidar', None, None), each)
    assert torch.equal(encoded[0].extrinsics, extrinsics)
    # The camera is 0.4 m above the ground, which is 1.73 m below the origin of these points.
    assert torch.allclose(encoded[1].extrinsics, levelling.extrinsics(extrinsics))
    assert encoded[1].extrinsics[2, 3] == pytest.approx(1.33)
