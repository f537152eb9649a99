# SPDX-License-Identifier: Apache-2.0
"""The comparison of sensors: what each mode is shown, that it learns, and how it is marked."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import argparse
import json

import matplotlib.image
import numpy as np
import pytest
import torch

from experiments import fusion_ablation as tool
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training import fusion_training
from tiny_bev_ros.training.fusion_training import (
    GRID,
    MODES,
    CameraFrames,
    ClassAP,
    as_batch,
    build_network,
    detect,
    maps_of,
    train,
)
from tiny_bev_ros.training.labelled_frame import Frame


@pytest.fixture
def small(monkeypatch):
    """Networks that are trained in seconds."""
    channels = {'pfn_channels': 8, 'mid_channels': 8, 'out_channels': 16}
    monkeypatch.setattr(fusion_training, 'NETWORK', fusion_training.NETWORK | channels)
    monkeypatch.setattr(fusion_training, '_CAMERA_CHANNELS', 16)
    monkeypatch.setattr(fusion_training, '_BATCH', 2)
    torch.set_num_threads(1)


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return CameraFrames(tmp_path_factory.mktemp('frames'), range(6))


def test_kept_frames_are_those_that_were_made(frames):
    made, kept = frames[0], frames[0]
    assert (made.image == kept.image).all()
    assert (made.frame.points == kept.frame.points).all()
    assert made.dark == kept.dark


def test_what_each_mode_is_shown(frames):
    sights = [frames[0], frames[1]]
    lidar, camera, fused = (as_batch(sights, mode) for mode in MODES)
    assert [len(cloud) for cloud in camera.points] == [0, 0]
    assert [len(cloud) for cloud in lidar.points] == [len(cloud) for cloud in fused.points]
    assert lidar.images.shape[:2] == (2, 0)
    assert (camera.images == fused.images).all()
    assert all(
        (one == other).all() for one, other in zip(lidar.targets, camera.targets, strict=True)
    )


def test_all_modes_begin_with_the_same_weights():
    lidar, camera, fused = (build_network(mode, 3).state_dict() for mode in MODES)
    assert all(torch.equal(value, fused[key]) for key, value in lidar.items())
    same = [key for key in lidar if not key.startswith('fusion.')]
    assert all(torch.equal(lidar[key], camera[key]) for key in same)
    with pytest.raises(
        TinyBevError, match="mode is 'radar'; expected one of lidar, camera, fused"
    ):
        build_network('radar', 0)


def test_without_its_camera_the_network_is_a_detector_of_clouds(frames):
    network = build_network('fused', 0).eval()
    detector = BevDetector(network.pfn, network.backbone, ())
    detector.heads = network.heads
    cloud = torch.from_numpy(frames[0].frame.points)
    with torch.inference_mode():
        expected = detector([cloud], [GRID])['detection']
        batch = as_batch([frames[0]], 'fused', unplugged=True)
        found = network(batch.points, [GRID], batch.images, batch.cameras)['detection']
    torch.testing.assert_close(found, expected)
    of_lidar = detect(network, frames[0], 'lidar')
    assert torch.equal(detect(network, frames[0], 'fused', unplugged=True).boxes, of_lidar.boxes)


def test_what_the_heads_stand_on_in_each_mode(frames):
    shape = (1, 64, *GRID.strided(2).shape)
    for mode, number in zip(MODES, (1, 1, 2), strict=True):
        network = build_network(mode, 0).eval()
        with torch.inference_mode():
            maps = maps_of(network, as_batch([frames[0]], mode), mode)
            blind = maps_of(network, as_batch([frames[0]], mode, unplugged=True), mode)
        assert [tuple(each.shape) for each in maps] == [shape] * number
        assert torch.equal(maps[0], blind[0]) == (mode != 'camera')
        assert torch.equal(maps[-1], blind[-1]) == (mode == 'lidar')


@pytest.mark.parametrize('mode', MODES)
def test_the_loss_falls(frames, mode, small):
    network, losses = train(mode, 0, frames, steps=12, workers=0)
    assert not network.training
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_the_same_seed_trains_the_same_network(frames, small):
    (one, _), (other, _) = (train('fused', 5, frames, steps=2, workers=0) for _ in range(2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def found_at(boxes, labels, scores):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 7),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels),
    )


def test_marks():
    """One vehicle that is found, one found as marked, one of too few points."""
    boxes = np.array(
        [[10, 0, 0, 4, 2, 1.5, 0], [20, 5, 0, 4, 2, 1.5, 0], [25, -5, 0, 4, 2, 1.5, 0],
         [50, 0, 0, 4, 2, 1.5, 0]], np.float32,
    )  # fmt: skip
    owner = np.repeat([0, 1, 2, 3], [9, 9, 3, 9]).astype(np.int32)
    frame = Frame(np.zeros((30, 4), np.float32), owner, boxes, np.array([0, 0, 0, 0]))
    marks = ClassAP()
    marks.add(frame, found_at(boxes[:3].tolist(), [0, 2, 0], [0.9, 0.8, 0.7]))
    vehicle, pedestrian, marked = marks.precisions()
    assert marks.rankings[0].positives == 2  # the fourth is off the map
    assert vehicle == pytest.approx(0.5)
    assert np.isnan(pedestrian)
    assert np.isnan(marked)


def test_the_examination_by_light_and_by_halves(frames, monkeypatch):
    sights = [frames[index] for index in range(4)]
    assert {sight.dark for sight in sights} == {True, False}
    looked = []

    def find(network, sight, mode, unplugged=False):
        index = next(i for i, each in enumerate(sights) if each is sight)
        looked.append((index, unplugged))
        known = sight.frame.labels >= 0
        # All that is lit is found, and nothing without the camera.
        kept = known & (not sight.dark) & (not unplugged)
        labels = sight.frame.labels[kept].tolist()
        return found_at(sight.frame.boxes[kept].tolist(), labels, [0.9] * len(labels))

    monkeypatch.setattr(tool, 'detect', find)
    marks = tool.examine(None, 'fused', sights)
    assert looked == [(0, False), (1, False), (2, False), (2, True), (3, False), (3, True)]
    assert marks['light']['vehicle'] == 1
    assert marks['dark']['vehicle'] == 0
    assert 0 < marks['all']['vehicle'] < 1
    assert marks['second half, unplugged']['vehicle'] == 0
    assert set(tool.examine(None, 'lidar', sights)) == {'all', 'light', 'dark', 'second half'}


def test_the_tool_keeps_its_runs(tmp_path, monkeypatch, capsys, small):
    parts = ('all', 'light', 'dark', 'second half', 'second half, unplugged')
    marks = {'vehicle': 0.5, 'pedestrian': 0.4, 'marked vehicle': 0.3, 'mean': 0.4}
    monkeypatch.setattr(
        tool,
        'examine',
        lambda network, mode, exams: dict.fromkeys(parts, marks),
    )
    trained = []
    real = tool.train
    monkeypatch.setattr(
        tool,
        'train',
        lambda mode, seed, frames, steps, dtype: (
            trained.append((mode, seed)) or real(mode, seed, frames, steps, workers=0)
        ),
    )
    options = argparse.Namespace(
        output=str(tmp_path), frames=4, exams=2, seeds=[0], modes=['lidar', 'fused'], steps=1
    )
    tool.run(options)
    tool.run(options)
    assert trained == [('lidar', 0), ('fused', 0)]
    assert json.loads((tmp_path / 'fused_0.json').read_text())['steps'] == 1
    text = (tmp_path / 'fusion.md').read_text()
    assert '| fused, camera unplugged | 0.500 (0.500..0.500) | 0.400' in text
    assert '| fused, dark | 0.500' in text
    assert text.strip() in capsys.readouterr().out
    assert matplotlib.image.imread(tmp_path / 'fusion.png').shape[0] > 300
    options.steps = 2
    with pytest.raises(TinyBevError, match='is of other steps or frames'):
        tool.run(options)
