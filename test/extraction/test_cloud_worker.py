# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Worker of extract with a detector that only estimates mountings: histories, skipped clouds."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import CLOUD_TYPE
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction import cloud_worker, work_units
from tiny_bev_ros.extraction.cloud_worker import CloudWorker, CloudWorkerFactory
from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.work_units import Run, Survey, plan_runs
from tiny_bev_ros.inference import mounting_tracker
from tiny_bev_ros.inference.cloud_normalizer import CloudNormalizer
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.models.sensor_mounting import MountingEstimate
from tiny_bev_ros.nodes.parameter_files import read_parameters

STORE = get_typestore(Stores.ROS2_JAZZY)
# Intensities of clouds at which the detector fails.
FAULTY, TOO_LARGE = 0.5, 0.75
ERRORS: dict[float, type[TinyBevError]] = {FAULTY: TinyBevError, TOO_LARGE: NotEnoughMemoryError}


class Cloud:
    """Cloud of one point, whose depth below the sensor is the estimated height.

    Args:
        height: height of the sensor in metres.
        stamp: stamp in seconds; None for the time of recording.
        frame_id: coordinate frame.
        intensity: FAULTY or TOO_LARGE for a cloud at which the detector fails.
        broken: true for fields without x.
    """

    def __init__(
        self,
        height: float,
        stamp: int | None = None,
        frame_id: str = 'lidar',
        intensity: float = 0.0,
        broken: bool = False,
    ) -> None:
        self.points = np.array([[5, 0, -height, intensity]], np.float32)
        self.stamp, self.frame_id, self.broken = stamp, frame_id, broken

    def serialized(self, index: int) -> bytes:
        types = STORE.types
        names = ('range' if self.broken else 'x', 'y', 'z', 'intensity')
        fields = [
            types['sensor_msgs/msg/PointField'](name, 4 * k, 7, 1) for k, name in enumerate(names)
        ]
        seconds = 100 + index if self.stamp is None else self.stamp
        stamp = types['builtin_interfaces/msg/Time'](seconds, 0)
        header = types['std_msgs/msg/Header'](stamp, self.frame_id)
        data = self.points.view(np.uint8).reshape(-1)
        cloud = types[CLOUD_TYPE](header, 1, 1, fields, False, 16, 16, data, is_dense=True)
        return bytes(STORE.serialize_cdr(cloud, CLOUD_TYPE))


class StubDetector:
    """Detector without networks: the result is the transform that levels the cloud."""

    grid = SimpleNamespace(reference=(0.0, 0.0))

    def __init__(self) -> None:
        self._normalizer = CloudNormalizer('auto')
        self.reset_mounting = self._normalizer.reset
        self.restore_mounting = self._normalizer.restore

    @property
    def tracker(self) -> Any:
        return self._normalizer.tracker

    def track_mounting(self, points: np.ndarray) -> None:
        self.tracker.update(points)

    def detect_local(self, points: np.ndarray) -> Any:
        levelling = self._normalizer(points).levelling
        if error := ERRORS.get(float(points[0, 3])):
            raise error('cloud is faulty; expected another')
        return self.tracker.state.clouds, levelling and round(levelling.lift, 6)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExtractedFrame]]:
    """Frames that the worker writes, in runs of 4 clouds."""
    written: list[ExtractedFrame] = []
    writer = SimpleNamespace(add=written.append, close=lambda: None)
    monkeypatch.setattr(cloud_worker, 'make_detector', lambda *_: StubDetector())
    monkeypatch.setattr(cloud_worker, 'make_writers', lambda *_: [writer])
    monkeypatch.setattr(
        mounting_tracker,
        'estimate_mounting',
        lambda points: MountingEstimate(-float(points[0, 2]), 0.0, 0.0, 100),
    )
    set_run_frames(monkeypatch, 4)
    yield written


def set_run_frames(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (cloud_worker, work_units):
        monkeypatch.setattr(module, 'RUN_FRAMES', count)


class Extraction:
    """Extraction of one bag by one worker.

    Args:
        folder: empty folder.
        clouds: clouds of the bag.
    """

    def __init__(self, folder: Path, clouds: list[Cloud]) -> None:
        with Writer(folder / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topic = writer.add_connection('/points', CLOUD_TYPE, typestore=STORE)
            for index, cloud in enumerate(clouds):
                writer.write(topic, (105 + index) * 10**9, cloud.serialized(index))
        self.folder = OutputFolder(folder / 'out')
        values = read_parameters('pipeline_node', [], {'device': 'cpu'})
        factory = CloudWorkerFactory(values, '', 1, OutputOptions(), self.folder)
        self._worker = CloudWorker(factory)
        self._survey = Survey(str(folder / 'bag'), 'bag')

    def runs(self) -> list[Run]:
        result = json.loads(json.dumps(self(self._survey)))
        return [
            replace(run, mounting=result['mounting'][run.number])
            for run in plan_runs(self._survey, result)
        ]

    def __call__(self, unit: Any) -> dict[str, Any]:
        return self._worker(unit, lambda _: None)


def test_runs_go_on_where_the_node_would(
    frames: list[ExtractedFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The estimate survives undecodable clouds, and starts over with a frame and a restart."""
    clouds = [
        *(Cloud(0.6) for _ in range(3)),
        Cloud(0.6, broken=True),
        Cloud(0.6),  # 4, of the second run
        Cloud(1.73, frame_id='roof'),
        Cloud(0.6, broken=True, frame_id='lidar'),
        Cloud(1.73, frame_id='roof'),
        Cloud(0.6, frame_id='roof'),  # 8
        Cloud(0.6, frame_id='roof'),
        Cloud(0.6, frame_id='roof', stamp=107),  # back, but not to the beginning
        Cloud(0.6, frame_id='roof', stamp=110),
        Cloud(0.6, frame_id='roof', stamp=100),  # 12
        Cloud(0.6, frame_id='roof', stamp=101),
        *(Cloud(0.6, frame_id='lidar', stamp=102 + index) for index in range(3)),
    ]
    extraction = Extraction(tmp_path, clouds)
    runs = extraction.runs()
    assert [run.count for run in runs] == [4, 4, 4, 4, 1]
    for run in reversed(runs):  # in no order, as several workers compute them
        extraction(run)
    found = {frame.index: frame.result for frame in frames}
    estimates = [found[index][0] if index in found else None for index in range(len(clouds))]
    assert estimates == [1, 2, 3, None, 4, 1, None, 2, 3, 4, 5, 6, 1, 2, 1, 2, 3]
    frames.clear()
    set_run_frames(monkeypatch, len(clouds))
    (tmp_path / 'whole').mkdir()
    extraction = Extraction(tmp_path / 'whole', clouds)
    (whole,) = extraction.runs()
    extraction(whole)
    assert {frame.index: frame.result for frame in frames} == found
    assert {lift is None for _, lift in found.values()} == {True, False}


def test_a_window_of_estimates_ignores_undecodable_clouds(
    frames: list[ExtractedFrame], tmp_path: Path
):
    """Once many clouds are known, one in eight that can be decoded is estimated."""
    clouds = [Cloud(0.6 if index < 40 else 1.0, broken=index in (33, 35)) for index in range(60)]
    extraction = Extraction(tmp_path, clouds)
    sinces = [run.mounting['tracker']['since'] for run in extraction.runs() if run.mounting]
    assert sinces == [0] * 8 + [1, 3, 7, 3, 7, 3, 7]


def test_a_cloud_at_which_the_detector_fails_is_skipped(
    frames: list[ExtractedFrame], tmp_path: Path
):
    faults = {1: FAULTY, 2: FAULTY}
    clouds = [Cloud(0.6, intensity=faults.get(index, 0.0)) for index in range(4)]
    extraction = Extraction(tmp_path, clouds)
    (run,) = extraction.runs()
    marker = extraction(run)
    assert marker['frames'] == 2
    assert [each['index'] for each in marker['skipped']] == [1, 2]
    assert {each['reason'] for each in marker['skipped']} == {'cloud is faulty; expected another'}
    # As in a node, the mounting was estimated before.
    assert [(frame.index, frame.result[0]) for frame in frames] == [(0, 1), (3, 4)]  # type: ignore[index]


def test_short_memory_fails_the_run(frames: list[ExtractedFrame], tmp_path: Path):
    extraction = Extraction(tmp_path, [Cloud(0.6), Cloud(0.6, intensity=TOO_LARGE), Cloud(0.6)])
    (run,) = extraction.runs()
    with pytest.raises(NotEnoughMemoryError):
        extraction(run)
    assert not extraction.folder.is_done(run)


@pytest.mark.parametrize(
    ('cloud', 'reason'),
    [
        (Cloud(0.6, intensity=FAULTY), 'cloud is faulty'),
        (Cloud(0.6, broken=True), "fields are .'range'"),
    ],
)
def test_a_run_without_frames_fails(
    frames: list[ExtractedFrame], tmp_path: Path, cloud: Cloud, reason: str
):
    extraction = Extraction(tmp_path, [cloud] * 4 + [Cloud(0.6)])
    first, second = extraction.runs()
    with pytest.raises(TinyBevError, match=f'run has 0 frames, as all of its 4 .*: {reason}'):
        extraction(first)
    assert not extraction.folder.is_done(first)
    assert extraction(second)['frames'] == 1
