# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training of the second stage: samples, steps, resumption, and the file of all networks."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from second_stages import METADATA, NETWORK

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.point_crops import crop_points
from tiny_bev_ros.inference.refinement_runner import RefinementRunner
from tiny_bev_ros.models import seeded
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata, save_weights
from tiny_bev_ros.models.heads.box_crops import CROP
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training import (
    box_sample_files,
    evaluation_run,
    second_stage,
    train_second_stage,
)
from tiny_bev_ros.training.box_samples import (
    IGNORED,
    NOTHING,
    OBJECT,
    STORED,
    BoxSamples,
    join_samples,
    make_box_samples,
)
from tiny_bev_ros.training.frame_sources import FrameSource
from tiny_bev_ros.training.labelled_frame import Frame, in_box
from tiny_bev_ros.training.second_stage import SecondStageTrainer
from tiny_bev_ros.training.second_stage_config import SecondStageConfig
from tiny_bev_ros.training.simulated_lidar import Mountings
from tiny_bev_ros.training.training_config import TrainConfig, from_dict

CONFIG = SecondStageConfig(frames=4, steps=40, batch=32, workers=1)


def frame(seed: int = 0) -> Frame:
    """Returns a frame with vehicles whose sides are full of points, on a plane."""
    random = np.random.default_rng(seed)
    boxes = np.array(
        [[x, y, -0.8, 4.0, 1.8, 1.5, 0.3 * x] for x in (6, 14, 22) for y in (-6.0, 1.0, 7.0)],
        np.float32,
    )
    boxes[:, :2] += random.uniform(-1, 1, (9, 2)).astype(np.float32)
    sides = []
    for box in boxes:
        unit = random.uniform(-0.5, 0.5, (200, 3))
        unit[np.arange(200), random.integers(0, 2, 200)] = random.choice([-0.5, 0.5], 200)
        local = unit * box[3:6]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        x, y = cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1]
        sides.append(np.stack([x, y, local[:, 2]], 1) + box[:3])
    ground = random.uniform(-30, 30, (2000, 3))
    ground[:, 2] = -1.55
    points = np.pad(np.concatenate([*sides, ground]), [(0, 0), (0, 1)]).astype(np.float32)
    ids = np.full(len(points), -1, np.int32)
    for index, box in enumerate(boxes):
        ids[in_box(box, points, 0.01)] = index
    return Frame(points, ids, boxes, np.zeros(9, np.int64), whole=True)


def found_in(given: Frame, seed: int = 0) -> Detections:
    """Returns boxes near the objects, and as many elsewhere."""
    random = np.random.default_rng(seed)
    near = given.boxes + random.normal(0, [0.3, 0.3, 0.15, 0.2, 0.1, 0.1, 0.08], (9, 7))
    away = near.copy()
    away[:, :2] += 30
    boxes = torch.from_numpy(np.concatenate([near, away]).astype(np.float32))
    return Detections(boxes, torch.full((18,), 0.5), torch.zeros(18, dtype=torch.long))


def samples(count: int = 8) -> BoxSamples:
    return join_samples(
        [make_box_samples(frame(seed), found_in(frame(seed), seed)) for seed in range(count)]
    )


def test_samples_know_their_objects_and_points():
    given, found = frame(), found_in(frame())
    made = make_box_samples(given, found)
    assert made.states.tolist() == [OBJECT] * 9 + [NOTHING] * 9
    assert torch.equal(made.wanted[:9], torch.from_numpy(given.boxes))
    assert int(made.counts.sum()) == len(made.points)
    assert 160 < made.counts.max() <= STORED.object_points + STORED.surrounding_points
    cloud = torch.from_numpy(given.points[:, :3])
    exact = 'donot_use_mm_for_euclid_dist'
    distance = torch.cdist(made.points, cloud, compute_mode=exact).min(1).values
    assert distance.max() < 1e-4  # they are points of the cloud
    few = np.where(np.arange(len(given.points)) % 100 == 0, given.instance_ids, -1)
    assert (
        make_box_samples(dataclasses.replace(given, instance_ids=few), found).states[:9] == IGNORED
    ).all()
    others = found._replace(labels=torch.ones(18, dtype=torch.long))
    assert not make_box_samples(given, others).states.any()


def test_a_step_takes_the_points_that_inference_takes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(second_stage, '_THINNED', 0.0)
    # Few enough points that none is left out by chance.
    given, found = frame(), found_in(frame())
    given = dataclasses.replace(
        given, points=given.points[::12], instance_ids=given.instance_ids[::12]
    )
    wanted, made = crop_points(given.points, found.boxes), make_box_samples(given, found)
    crops = second_stage._crop(made.points, torch.repeat_interleave(made.counts), found.boxes)
    assert 0 < wanted.counts.max() < CROP.surrounding_points + 16
    assert torch.equal(crops.counts, wanted.counts)
    ends = [0, *wanted.counts.cumsum(0).tolist()]
    for begin, end in pairwise(ends):
        if end > begin:
            distance = torch.cdist(crops.points[begin:end], wanted.points[begin:end])
            assert distance.argmin(1).sort().values.tolist() == list(range(end - begin))
            assert distance.min(1).values.max() < 1e-3


def test_training_fits_boxes_and_tells_objects_from_nothing(tmp_path: Path):
    config = dataclasses.replace(CONFIG, steps=150, batch=64)
    head = SecondStageTrainer(config, samples(), tmp_path, 0).run()
    given, found = frame(9), found_in(frame(9), 9)
    refined = RefinementRunner(head)(found, given.points, (0.0,) * 3)
    wanted = torch.from_numpy(given.boxes)
    before = torch.cdist(wanted[:, :2], found.boxes[:, :2]).min(1).values.mean()
    after = torch.cdist(wanted[:, :2], refined.boxes[:, :2]).min(1).values.mean()
    assert after < 0.7 * before
    on = torch.cdist(refined.boxes[:, :2], wanted[:, :2]).min(1).values < 2
    assert on[:9].all()
    assert not on[9:].any()


def test_a_resumed_training_is_as_one_that_was_not_stopped(tmp_path: Path):
    whole = SecondStageTrainer(CONFIG, samples(), tmp_path / 'whole', 0).run().state_dict()
    stopped = SecondStageTrainer(CONFIG, samples(), tmp_path / 'parts', 0)
    while stopped.step < 17:
        stopped._update()
    (tmp_path / 'parts').mkdir()
    stopped._save()
    resumed = SecondStageTrainer(CONFIG, samples(), tmp_path / 'parts', 0)
    assert resumed.step == 17
    for key, value in resumed.run().state_dict().items():
        assert torch.equal(value, whole[key])
    with pytest.raises(TinyBevError, match='is of another run; expected the same, or a new'):
        SecondStageTrainer(dataclasses.replace(CONFIG, batch=16), samples(), tmp_path / 'parts', 0)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'it is empty'),
        (b'PK\x03\x04' + bytes(999), r'cannot be read \(.*Error'),
    ],
)
def test_a_damaged_state_is_one_line(tmp_path: Path, content: bytes, words: str):
    (tmp_path / 'second_stage.pt').write_bytes(content)
    with pytest.raises(TinyBevError, match=words) as error:
        SecondStageTrainer(CONFIG, samples(), tmp_path, 0)
    assert str(error.value).isprintable()


def test_boxes_on_objects_and_on_nothing_are_needed(tmp_path: Path):
    made = samples(1)
    with pytest.raises(TinyBevError, match='boxes on objects are 0; expected some'):
        SecondStageTrainer(CONFIG, made._replace(states=made.states * 0), tmp_path, 0)


class FakeDetector:
    """Stands for a Detector; finds the objects and as many false ones."""

    def __init__(self, *_: Any, precision: str, refine_boxes: bool, exported_network: str) -> None:
        assert precision == 'float32' and not refine_boxes and not exported_network

    def runner(self, points: np.ndarray, min_scores: tuple[float, ...]) -> Any:
        return SimpleNamespace(heads=SimpleNamespace(detections=found_in(frame())))


SOURCE = FrameSource(frame, ('a remark',))


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weight file without a second stage; frames and detections are those above."""
    with seeded(0):
        network = build_detector(**{**NETWORK, 'heads': tuple(NETWORK['heads'])}).eval()
    save_weights(tmp_path / 'base.safetensors', network, METADATA)
    monkeypatch.setattr(train_second_stage, 'frame_source', lambda config: SOURCE)
    monkeypatch.setattr(evaluation_run, 'Detector', FakeDetector)
    monkeypatch.setattr(box_sample_files, '_FRAMES', 2)
    monkeypatch.setattr(box_sample_files, '_DETECTORS', {})
    return tmp_path / 'base.safetensors'


def run(base: Path, folder: Path, **changes: Any) -> Path:
    config = TrainConfig(second_stage=dataclasses.replace(CONFIG, rotated=0.0, scaling=(0, 0)))
    config = dataclasses.replace(config, **changes)
    return train_second_stage.train_second_stage(config, base, folder, 'a command')


def test_the_new_file_has_all_networks_and_their_origin(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = run(base, tmp_path / 'run')
    assert 'train_second_stage: a remark\n' in capsys.readouterr().err
    old, _ = load_weights(base)
    new, metadata = load_weights(path)
    for key, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[key], value)
    assert metadata.network['heads'] == ['detection', 'drivable', 'refinement']
    origin = metadata.origin['second_stage']
    assert metadata.origin['seed'] == METADATA.origin['seed']
    assert origin['command'] == 'a command'
    assert len(origin['base_weights']) == 64
    assert origin['config']['second_stage']['steps'] == CONFIG.steps
    detector = Detector(path, (0, 16), (-8, 8), device='cpu')
    assert detector.runner.refinement is not None
    again = run(path, tmp_path / 'again')  # replaces the second stage
    assert read_metadata(again).network['heads'] == metadata.network['heads']


@pytest.mark.parametrize('wanted', [True, False])
def test_clouds_are_levelled_as_the_networks_expect(base: Path, tmp_path: Path, wanted: bool):
    network, metadata = load_weights(base)
    save_weights(base, network, dataclasses.replace(metadata, levelled=wanted))
    with pytest.raises(
        TinyBevError,
        match=rf'levelled is {not wanted}; expected {wanted}, as in base\.safetensors',
    ):
        run(base, tmp_path / 'run', mountings=Mountings(levelled=not wanted))
    path = run(base, tmp_path / 'run', mountings=Mountings(levelled=wanted))
    assert read_metadata(path).levelled is wanted


def test_samples_that_are_there_are_not_made_again(base: Path, tmp_path: Path):
    run(base, tmp_path / 'run')
    files = sorted((tmp_path / 'run/samples').glob('*.npz'))
    assert len(files) == 2
    files[1].unlink()
    before = files[0].stat().st_mtime_ns
    run(base, tmp_path / 'run')
    assert files[0].stat().st_mtime_ns == before
    assert files[1].exists()
    with pytest.raises(TinyBevError, match=r'origin.json has other values; expected the same run'):
        run(base, tmp_path / 'run', seed=1)


def test_samples_of_other_crops_are_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(base, tmp_path / 'run')
    monkeypatch.setattr(train_second_stage, 'STORED', STORED._replace(object_points=1))
    with pytest.raises(TinyBevError, match=r'origin.json has other values; expected the same run'):
        run(base, tmp_path / 'run')


def test_wrong_settings_are_refused():
    with pytest.raises(TinyBevError, match=r'second_stage.steps is 0; expected 1 or more'):
        from_dict(TrainConfig, {'second_stage': {'steps': 0}})
    with pytest.raises(TinyBevError, match=r'second_stage.scaling is \[0.1\]; expected two'):
        from_dict(TrainConfig, {'second_stage': {'scaling': [0.1]}})
    with pytest.raises(TinyBevError, match=r'second_stage.step is unknown'):
        from_dict(TrainConfig, {'second_stage': {'step': 1}})


def test_the_executable_says_what_is_wrong(capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        'sys.argv', ['train_second_stage', '--weights', 'none.pt', '--config', 'none.yaml']
    )
    assert train_second_stage.main() == 1
    assert "train_second_stage: weights is 'none.pt'; expected street" in capsys.readouterr().err


def test_the_recorded_command_names_weights_and_configuration(monkeypatch: pytest.MonkeyPatch):
    config = Path(__file__).parents[2] / 'config/training/street.yaml'
    words = ['train_second_stage', '--weights', 'street', '--config', str(config)]
    monkeypatch.setattr('sys.argv', words)
    commands: list[str] = []

    def record(config: TrainConfig, weights: Path, folder: Path, command: str) -> Path:
        commands.append(command)
        return folder

    monkeypatch.setattr(train_second_stage, 'train_second_stage', record)
    assert train_second_stage.main() == 0
    assert commands == ['train_second_stage --weights street --config street.yaml']
