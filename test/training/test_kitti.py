# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training.evaluation import (
    Score,
    count_errors,
    simulated_eval_frame,
)
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.kitti_eval import kitti_eval_frames
from tiny_bev_ros.training.labelled_frame import Frame

# A camera 0.27 m ahead of the LiDAR and 0.08 m below, that points along x.
CALIBRATION = """P0: 7e2 0 6e2 0 0 7e2 1.8e2 0 0 0 1 0
P2: 7e2 0 6e2 0 0 7e2 1.8e2 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
"""


def label(kind, x, y, z, yaw=0.0, height=60.0, truncated=0.0, occluded=0):
    """A line of a label file for a car at a position in the LiDAR's frame."""
    foot = (-y, -(z - 0.75) - 0.08, x - 0.27)
    turn = -yaw - np.pi / 2
    numbers = [truncated, occluded, 0, 500, 150, 560, 150 + height, 1.5, 1.7, 4.0, *foot, turn]
    return f'{kind} ' + ' '.join(str(number) for number in numbers)


DONT_CARE = 'DontCare -1 -1 -10 700 100 900 300 -1 -1 -1 -1000 -1000 -1000 -10'


@pytest.fixture
def folder(tmp_path: Path):
    def make(*lines, points=None):
        for name in ('velodyne', 'label_2', 'calib'):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / 'label_2/000003.txt').write_text('\n'.join(lines) + '\n')
        (tmp_path / 'calib/000003.txt').write_text(CALIBRATION)
        if points is None:
            points = np.zeros((0, 4), np.float32)
        points.astype(np.float32).tofile(tmp_path / 'velodyne/000003.bin')
        return KittiFolder(tmp_path)

    return make


def on_car(x, y, count):
    """Points on the car of `label` at (x, y)."""
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 4))
    return spread * (3, 1, 1, 1) + (x, y, -0.9, 0.5)


def test_a_label_lies_where_it_was_put(folder):
    frames = folder(label('Car', 20, 3, -0.9, yaw=0.3), label('Van', 10, -2, -0.9, yaw=-2.0))
    car, van = frames.objects('000003')
    np.testing.assert_allclose(car.box, [20, 3, -0.9, 4.0, 1.7, 1.5, 0.3], atol=1e-6)
    np.testing.assert_allclose(van.box, [10, -2, -0.9, 4.0, 1.7, 1.5, -2.0], atol=1e-6)
    assert (car.kind, van.kind) == ('Car', 'Van')


def test_there_and_back(folder):
    calibration = folder(label('Car', 20, 3, -0.9)).calibration('000003')
    positions = np.random.default_rng(0).normal(0, 10, (20, 3))
    np.testing.assert_allclose(
        calibration.lidar(calibration.camera(positions)), positions, atol=1e-9
    )
    pixels, depth = calibration.pixels(np.array([[10.27, 0, -0.08], [10.27, 1, -0.08]]))
    np.testing.assert_allclose(pixels, [[600, 180], [530, 180]])
    np.testing.assert_allclose(depth, 10)


@pytest.mark.parametrize(
    ('options', 'level'),
    [
        ({}, 0),
        ({'height': 39}, 1),
        ({'height': 24}, 3),
        ({'occluded': 1}, 1),
        ({'occluded': 2}, 2),
        ({'occluded': 3}, 3),
        ({'truncated': 0.2}, 1),
        ({'truncated': 0.4}, 2),
        ({'truncated': 0.6}, 3),
    ],
)
def test_difficulties(folder, options, level):
    (car,) = folder(label('Car', 20, 3, -0.9, **options)).objects('000003')
    assert car.difficulty() == level


def test_a_frame_has_the_points_in_the_image(folder):
    points = np.vstack([on_car(20, 3, 40), on_car(-20, 3, 40)])
    frame = folder(label('Car', 20, 3, -0.9), label('Misc', 25, 0, -0.9), points=points).frame(
        '000003'
    )
    assert len(frame.points) == 40
    assert frame.counts.tolist() == [40, 0]
    assert frame.labels.tolist() == [0, -1]


def write_without_camera(path):
    lines = [line for line in CALIBRATION.splitlines() if not line.startswith('P')]
    (path / 'calib/000003.txt').write_text('\n'.join(lines))


@pytest.mark.parametrize('around', [True, False])
def test_without_a_camera_labels_are_on_all_sides(folder, tmp_path, around):
    points = np.vstack([on_car(20, 3, 40), on_car(-20, 3, 40)])
    angles = np.linspace(-np.pi, np.pi, 200)
    ring = np.stack([9 * np.cos(angles), 9 * np.sin(angles), 0 * angles - 1.7, 0 * angles], 1)
    points = np.vstack([points, ring if around else np.abs(ring)])
    lines = label('Car', 20, 3, -0.9), label('Car', -20, 3, -0.9), label('Car', -60, 3, -0.9)
    frames = folder(*lines, points=points)
    assert frames.is_ahead()
    assert not frames.frame('000003').whole

    write_without_camera(tmp_path)
    frame = frames.frame('000003')
    assert not frames.is_ahead()
    assert len(frame.points) == 280
    assert frame.counts.tolist() == [40, 40, 0]
    assert frame.whole == around
    found_both = found((20, 3, 0.5), (-20, 3, 0.5), (-60, 3, 0.9))
    assert vehicle_ap(frames, found_both) == (1.0, 2)
    # Nothing is excused on any side.
    assert vehicle_ap(frames, found((20, 3, 0.5), (-20, 3, 0.5), (-20, -9, 0.9)))[0] < 1


def test_labels_are_those_of_other_tools(data_dir):
    """Boxes in the LiDAR's frame that another tool computed."""
    frames = KittiFolder(data_dir / 'kitti')
    assert len(frames) == 9
    for name in frames.names:
        others = json.loads((data_dir / f'kitti/boxes_lidar_derived/{name}.json').read_text())
        objects = [each for each in frames.objects(name) if each.kind != 'DontCare']
        assert len(objects) == len(others['boxes'])
        for each, other in zip(objects, others['boxes'], strict=True):
            expected = [other[key] for key in ('x', 'y', 'z', 'l', 'w', 'h', 'yaw')]
            np.testing.assert_allclose(each.box, expected, atol=0.02)
            assert each.kind == other['cls']


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('end', ['\n', '\r\n', ' \r\n\r\n', ' \t\n'])
def test_files_of_other_editors_lose_no_line(folder, tmp_path, encoding, end):
    lines = [label('Car', 20, 3, -0.9), label('Cyclist', 30, 0, -0.9), DONT_CARE]
    plain = folder(*lines).objects('000003')
    (tmp_path / 'label_2/000003.txt').write_bytes(end.join([*lines, '']).encode(encoding))
    calibration = end.join(CALIBRATION.splitlines()).encode(encoding)
    (tmp_path / 'calib/000003.txt').write_bytes(calibration)
    frames = KittiFolder(tmp_path)
    assert frames.remark == ''
    objects = frames.objects('000003')
    assert [each.kind for each in objects] == ['Car', 'Cyclist', 'DontCare']
    for each, other in zip(objects, plain, strict=True):
        np.testing.assert_allclose(each.box, other.box)
    assert frames.frame('000003').labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ('lines', 'error'),
    [
        ((label('car', 20, 3, -0.9), label('bus', 9, 0, -0.9)), r'name bus \(1\), car \(1\)'),
        ((label('Tram', 20, 3, -0.9), DONT_CARE), r'name DontCare \(1\), Tram \(1\)'),
        ((), 'name no object'),
    ],
)
def test_labels_of_no_known_class_are_refused(folder, lines, error):
    with pytest.raises(TinyBevError, match=f'{error}; expected some of Car, Van'):
        folder(*lines)


def test_labels_of_unknown_names_among_known_ones_are_reported(folder):
    frames = folder(label('Car', 20, 3, -0.9), label('bus', 9, 0, -0.9), DONT_CARE)
    assert 'also name bus (1); these' in frames.remark


@pytest.mark.parametrize('file', ['velodyne/000003.bin', 'label_2/000003.txt'])
def test_files_that_were_not_downloaded_are_reported(folder, tmp_path, file):
    folder(label('Car', 20, 3, -0.9))
    (tmp_path / file).write_text('version https://git-lfs.github.com/spec/v1\nsize 5\n')
    with pytest.raises(TinyBevError, match='is a Git LFS pointer for a file of 5 bytes'):
        KittiFolder(tmp_path).points('000003')


@pytest.mark.parametrize(
    ('file', 'text', 'error'),
    [
        ('label_2/000003.txt', 'Car 1 2 3', 'is no label file'),
        ('calib/000003.txt', 'P2: 1 2', "lacks 'R0_rect'; expected P2"),
    ],
)
def test_broken_files_are_named(folder, tmp_path, file, text, error):
    frames = folder(label('Car', 20, 3, -0.9))
    (tmp_path / file).write_text(text)
    with pytest.raises(TinyBevError, match=error):
        frames.objects('000003')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(TinyBevError, match=r'holds no frame; expected velodyne/ID.bin'):
        KittiFolder(tmp_path)


def found(*rows):
    """Detections of vehicles: x, y, score."""
    boxes = torch.tensor([[x, y, -0.9, 4.0, 1.7, 1.5, 0.0] for x, y, _ in rows]).reshape(-1, 7)
    scores = torch.tensor([float(score) for *_, score in rows])
    return Detections(boxes, scores, torch.zeros(len(rows), dtype=torch.long))


def vehicle_ap(frames, detections, level='visible'):
    score = Score()
    for frame in kitti_eval_frames(frames):
        score.add(frame, detections)
    ranking = score.rankings[level, 'vehicle', 'bev', 0.5]
    return ranking.average_precision(), ranking.positives


def test_rules_of_the_evaluation(folder):
    points = np.vstack([on_car(20, 3, 40), on_car(30, 0, 40), on_car(40, 3, 3)])
    frames = folder(
        label('Car', 20, 3, -0.9),
        label('Van', 30, 0, -0.9),
        label('Car', 40, 3, -0.9),  # of three points
        label('Car', 60, 0, -0.9),  # too far
        DONT_CARE,
        points=points,
    )
    right = (20, 3, 0.5)
    assert vehicle_ap(frames, found(right)) == (1.0, 1)
    # None of these is wrong: a van, a car of few points, one too far, one outside of the image,
    # one behind, one in an area that nobody labelled.
    excused = [(30, 0, 0.9), (40, 3, 0.9), (60, 0, 0.9), (20, -40, 0.9), (-20, 3, 0.9)]
    excused += [(20, -5.5, 0.9)]
    assert vehicle_ap(frames, found(right, *excused)) == (1.0, 1)
    assert vehicle_ap(frames, found(right, (20, -1, 0.9))) == (0.5, 1)
    assert vehicle_ap(frames, found(right), 'easy') == (0.5, 2)


def test_perfect_detections_have_an_average_precision_of_1(data_dir):
    frames = KittiFolder(data_dir / 'kitti')
    score = Score()
    for frame in kitti_eval_frames(frames):
        boxes, labels = [], []
        for label_of, truth in enumerate(frame.truths['visible']):
            boxes.append(truth.boxes)
            labels += [label_of] * len(truth.boxes)
        boxes = torch.from_numpy(np.concatenate(boxes))
        score.add(frame, Detections(boxes, torch.ones(len(boxes)), torch.tensor(labels)))
    assert score.frames == 9
    for level, kind, view, _, number, precision in score.table():
        if number:
            assert precision == 1.0, (level, kind, view)
    assert score.rankings['visible', 'vehicle', 'bev', 0.5].positives == 26


def test_simulated_objects_of_few_points_do_not_count():
    boxes = found((10, 3, 1), (-20, 3, 1), (60, 0, 1)).boxes.numpy()
    ids = np.repeat(np.arange(3, dtype=np.int32), (30, 4, 90))
    points = np.zeros((len(ids), 4), np.float32)
    frame = Frame(points, ids, boxes, np.zeros(3, np.int64))
    score = Score()
    score.add(simulated_eval_frame('0', frame), found((10, 3, 0.5), (-20, 3, 0.9), (60, 0, 0.9)))
    ranking = score.rankings['visible', 'vehicle', '3d', 0.7]
    assert (ranking.positives, ranking.average_precision()) == (1, 1.0)


def test_drivable_iou_over_all_frames():
    score = Score()
    assert np.isnan(score.drivable_iou)
    yes, no = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    half = np.array([[True, False], [True, False]])
    score.add_area(yes, half, yes)
    score.add_area(half, yes, half)
    score.add_area(no, no, yes)
    assert score.drivable_iou == pytest.approx((2 + 2) / (4 + 2))


def test_errors_are_counted_and_missed_objects_returned(folder):
    points = np.vstack([on_car(20, 3, 40), on_car(30, 0, 40)])
    frames = folder(label('Car', 20, 3, -0.9), label('Car', 30, 0, -0.9), points=points)
    (frame,) = kitti_eval_frames(frames)
    assert count_errors(frame, found((20, 3, 0.5), (30, 0, 0.5)))[0] == 0
    errors, missed = count_errors(frame, found((20, 3, 0.5), (25, -1, 0.5)))
    assert errors == 2
    np.testing.assert_allclose(missed[:, :2], [[30, 0]], atol=1e-5)
    assert count_errors(frame, found())[0] == 2
