# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.

from optional_packages import require_packages

require_packages('numba')

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.engine import detectors
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

RANGES = ((0.0, 12.8), (-6.4, 6.4))


@pytest.fixture(scope='module')
def points() -> np.ndarray:
    plan = street_plan(0)
    return scan(street(0).at(0.0), LIDARS['hdl64'], ego_pose(plan, 0.0), 0).points


@pytest.fixture(autouse=True)
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, 'MAPS', {'ahead': RANGES})


def objects(*rows: tuple[float, float, float, int], road: float = 0.5) -> HeadOutputs:
    """Makes outputs with objects of x, y, score and class, and a uniform road."""
    boxes = torch.zeros(len(rows), 7)
    boxes[:, :2] = torch.tensor([row[:2] for row in rows]).reshape(-1, 2)
    scores, labels = torch.tensor([row[2] for row in rows]), [row[3] for row in rows]
    found = Detections(boxes, scores, torch.tensor(labels, dtype=torch.int64))
    return HeadOutputs(detection=found, drivable=torch.full((4, 4), road))


@torch.inference_mode()
def test_the_engine_finds_what_pytorch_finds(points: np.ndarray, tmp_path: Path):
    makers = detectors.detectors('ahead', 1, tmp_path)
    assert not list(tmp_path.iterdir())
    assert next(iter(makers)) == 'eager'
    eager, engine = makers['eager']()(points), makers['engine float32']()(points)
    assert eager.drivable.shape == (32, 32)
    assert detectors.detection_error(engine, eager) < 1e-4


@torch.inference_mode()
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    ('name', 'package'),
    [('ONNX Runtime float32', 'onnxruntime'), ('OpenVINO float32', 'openvino')],
)
def test_a_runtime_finds_what_pytorch_finds(
    points: np.ndarray, tmp_path: Path, name: str, package: str
):
    pytest.importorskip('onnx')
    pytest.importorskip(package)
    makers = detectors.detectors('ahead', 1, tmp_path)
    assert detectors.detection_error(makers[name]()(points), makers['eager']()(points)) < 1e-4


def test_detection_error():
    wanted = objects((1.0, 2.0, 0.9, 0), (5.0, 5.0, 0.6, 1), (9.0, 9.0, 0.4, 2))
    assert detectors.detection_error(wanted, wanted) == 0.0
    # An unsure object may be missing; order does not count.
    swapped = objects((5.1, 5.0, 0.6, 1), (1.0, 2.2, 0.88, 0))
    assert detectors.detection_error(swapped, wanted) == pytest.approx(0.02 / 2**0.5)
    # A sure object that is missing, of another class, far off, or one too many.
    half = pytest.approx(0.5**0.5)
    assert detectors.detection_error(objects((1.0, 2.0, 0.9, 0)), wanted) == half
    assert detectors.detection_error(wanted, objects((1.0, 2.0, 0.9, 0))) == half
    other = objects((1.0, 2.0, 0.9, 1), (5.0, 5.0, 0.6, 1))
    assert detectors.detection_error(other, wanted) == half
    assert detectors.detection_error(objects(), objects((1.0, 2.0, 0.9, 0))) == 1.0
    assert detectors.detection_error(objects(), objects(road=0.6)) == pytest.approx(1 / 6)
    assert detectors.detection_error(objects(road=float('nan')), objects()) != 0.0


def test_every_map_cloud_and_detector_has_a_row(monkeypatch, tmp_path: Path):
    def fail():
        raise ModuleNotFoundError("No module named 'openvino'")

    result = objects((1.0, 2.0, 0.9, 0))
    makers = {'eager': lambda: lambda _: result, 'OpenVINO float32': fail}
    monkeypatch.setattr(detectors, 'detectors', lambda *_: makers)
    clouds = {f'sweep {number}': np.zeros((0, 4), np.float32) for number in (1, 2)}
    (found,) = detectors.measure_detectors(clouds, 1, 3, tmp_path)
    assert (found['map'], found['shape']) == ('ahead', (64, 64))
    assert [(row['input'], row['contender']) for row in found['rows']] == [
        ('sweep 1', 'eager'),
        ('sweep 2', 'eager'),
    ]
    assert all(len(row['ms']) == 3 for row in found['rows'])
    assert list(found['left_out']) == ['OpenVINO float32']
