# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import math
import re

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.label_parser import parse_labels, parse_pillar_labels
from tiny_bev_ros.messages.tensor_labels import (
    CameraCalibration,
    TensorLabels,
    format_labels,
    grid_from_labels,
)

FULL = TensorLabels((1700000000, 5), 'map 1;=%ü', Axis(-39.68, 0.16), Axis(0.0, 1 / 3))
K = (90.5, 0.0, 79.75, 0.0, 90.5, 29.75, 0.0, 0.0, 1.0)
D = (-0.3, 0.1, 1e-05, 0.0, -0.02)
PLAIN = ['batch', 'channel', 'height', 'width']


def parse_one(index: int, text: str) -> TensorLabels:
    texts = list(PLAIN)
    texts[index] = text
    return parse_labels(texts)[1]


def test_written_text_is_the_documented_one():
    assert format_labels(FULL) == [
        'batch;stamp=1700000000.000000005;frame_id=map%201%3B%3D%25%C3%BC',
        'channel',
        'height;origin=-39.68;step=0.16',
        'width;origin=0.0;step=0.3333333333333333',
    ]


def test_what_is_not_known_is_left_out():
    assert format_labels(TensorLabels()) == PLAIN
    assert parse_labels(PLAIN) == (PLAIN, TensorLabels())


@pytest.mark.parametrize(
    'labels',
    [
        FULL,
        TensorLabels(stamp=(0, 0), frame_id=''),
        TensorLabels(stamp=(2**31 - 1, 999_999_999)),
        TensorLabels(frame_id='/robot_1/lidar+front\n\t\0'),
        TensorLabels(x_axis=Axis(1e300, 5e-324)),
        TensorLabels(y_axis=Axis(-0.1 - 0.2, math.pi)),
        TensorLabels((1, 2), 'camera', calibration=CameraCalibration(K)),
        TensorLabels(calibration=CameraCalibration(K, D)),
    ],
)
def test_round_trip(labels):
    assert parse_labels(format_labels(labels)) == (PLAIN, labels)


def test_written_calibration_is_the_documented_one():
    labels = TensorLabels((1, 0), 'camera', calibration=CameraCalibration(K, D))
    assert format_labels(labels) == [
        'batch;stamp=1.000000000;frame_id=camera;k=90.5,0.0,79.75,0.0,90.5,29.75,0.0,0.0,1.0;'
        'd=-0.3,0.1,1e-05,0.0,-0.02',
        *PLAIN[1:],
    ]
    assert 'd=' not in format_labels(TensorLabels(calibration=CameraCalibration(K)))[0]


def test_usual_frames_stay_readable():
    label = format_labels(TensorLabels(frame_id='robot_1/velo+dyne-2.0:a'))[0]
    assert label == 'batch;frame_id=robot_1/velo+dyne-2.0:a'


@pytest.mark.parametrize(
    'texts, names',
    [
        (['', '', '', ''], PLAIN),
        (['', '', ''], PLAIN[1:]),
        (['n', 'c', 'h', 'w'], PLAIN),
        (['B', 'C', 'Y', 'X'], PLAIN),
        (['BATCH', 'Height', 'w', 'channel'], ['batch', 'height', 'width', 'channel']),
        (['h', 'w', 'c'], ['height', 'width', 'channel']),
    ],
)
def test_names_of_plain_messages(texts, names):
    assert parse_labels(texts) == (names, TensorLabels())


def test_pairs_follow_a_short_name_and_another_order():
    names, labels = parse_labels(['x;origin=1;step=2', 'c', 'n;frame_id=m', 'y;step=.5;origin=-3'])
    assert names == ['width', 'channel', 'batch', 'height']
    assert labels == TensorLabels(None, 'm', Axis(-3, 0.5), Axis(1, 2))


def test_unknown_keys_are_ignored():
    assert parse_one(0, 'batch;colour=red;frame_id=m') == TensorLabels(frame_id='m')


def test_byte_dimension_is_checked_and_left_out():
    for axes in (PLAIN, PLAIN[1:], [''] * 4):
        names, _ = parse_labels([*axes, 'byte;dtype=float16'], float16=True)
        assert names == PLAIN[-len(axes) :]


@pytest.mark.parametrize(
    'texts',
    [
        PLAIN,
        [],
        [*PLAIN, ''],
        [*PLAIN, 'byte'],
        [*PLAIN, 'byte;dtype=bfloat16'],
        ['byte;dtype=float16', *PLAIN],
    ],
)
def test_float16_needs_its_byte_dimension(texts):
    with pytest.raises(TinyBevError, match='byte;dtype=float16'):
        parse_labels(texts, float16=True)


def test_byte_dimension_elsewhere():
    with pytest.raises(TinyBevError, match=r'dim\[3\].*no byte dimension'):
        parse_labels(['channel', 'height', 'width', 'byte;dtype=float16'])
    byte = 'byte;dtype=float16'
    with pytest.raises(TinyBevError, match=r'dim\[0\].*no byte dimension'):
        parse_labels([byte, 'channel', 'height', 'width', byte], float16=True)


@pytest.mark.parametrize(
    'texts, message',
    [
        ([], 'has 0 entries; expected 3 or 4'),
        (['', ''], 'has 2 entries; expected 3 or 4'),
        ([''] * 5, 'has 5 entries; expected 3 or 4'),
        ([''] * 1000, 'has 1000 entries; expected 3 or 4'),
        (['batch', '', 'height', 'width'], 'labels are'),
        (['batch', 'channel', 'height', 'height'], 'labels are'),
        (['batch', 'height', 'width'], 'labels are'),
        (['batch', 'channels', 'height', 'width'], r"dim\[1\].label is 'channels'"),
        (['batch', 'channel', 'height', ' width'], r"dim\[3\].label is ' width'"),
        (['batch', 'channel', ';origin=1;step=1', 'width'], r'dim\[2\].label'),
    ],
)
def test_refused_names(texts, message):
    with pytest.raises(TinyBevError, match=message):
        parse_labels(texts)


@pytest.mark.parametrize(
    'index, text, message',
    [
        (0, 'batch;', "with ''; expected key=value"),
        (0, 'batch;stamp', "with 'stamp'; expected key=value"),
        (0, 'batch;frame_id=a=b', 'expected key=value'),
        (0, 'batch;=a', 'expected key=value'),
        (0, 'batch;frame_id=a;frame_id=a', 'each key once'),
        (0, 'batch;frame_id=%zz', 'with frame_id .*percent-encoded'),
        (0, 'batch;frame_id=a%2', 'with frame_id .*percent-encoded'),
        (0, 'batch;frame_id=%ff', 'with frame_id .*percent-encoded'),
        (0, 'batch;origin=1;step=1', 'expected origin only on height and width'),
        (2, 'height;stamp=1.000000000', 'expected stamp only on batch'),
        (1, 'channel;dtype=float16', 'expected dtype only on byte'),
        (0, 'batch;stamp=', 'with stamp'),
        (0, 'batch;stamp=1.5', 'with stamp'),
        (0, 'batch;stamp=-1.000000000', 'with stamp'),
        (0, 'batch;stamp=1.0000000000', 'with stamp'),
        (0, 'batch;stamp=2147483648.000000000', 'with stamp'),
        (0, 'batch;stamp=1,000000000', 'with stamp'),
        (0, 'batch;stamp=\u0661.000000000', 'with stamp'),
        (2, 'height;origin=1', 'with origin alone'),
        (3, 'width;step=1', 'with step alone'),
        (2, 'height;origin=abc;step=1', 'with origin .*finite number'),
        (2, 'height;origin=nan;step=1', 'with origin .*finite number'),
        (2, 'height;origin=1e999;step=1', 'with origin .*finite number'),
        (2, 'height;origin=1_0;step=1', 'with origin .*finite number'),
        (3, 'width;origin=0;step=0', 'with step .*above 0'),
        (3, 'width;origin=0;step=-1', 'with step .*above 0'),
        (3, 'width;origin=0;step=1e-999', 'with step .*above 0'),
        (3, 'width;origin=0;step=inf', 'with step .*above 0'),
        (3, 'width;origin=0;step=', 'with step .*above 0'),
        (0, 'batch;d=0,0,0,0,0', 'with d alone; expected k'),
        (0, 'batch;k=', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8,9,10', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8,nan', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8,1e999', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8, 9', 'with k .*expected 9 finite numbers'),
        (0, 'batch;k=1,2,3,4,5,6,7,8,9;d=1,2,3,4', 'with d .*expected 5 or 8 finite numbers'),
        (1, 'channel;k=1,0,0,0,1,0,0,0,1', 'expected k only on batch'),
        (3, 'width;d=0,0,0,0,0', 'expected d only on batch'),
    ],
)
def test_refused_pairs(index, text, message):
    with pytest.raises(TinyBevError, match=rf'layout.dim\[{index}\].label is .*{message}'):
        parse_one(index, text)


def test_an_error_is_one_short_line():
    with pytest.raises(TinyBevError) as caught:
        parse_one(0, 'batch\n\u2028' + 'x' * 10**6)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('stamp', [(-1, 0), (2**31, 0), (0, 10**9), (0, -1)])
def test_refused_stamps(stamp):
    with pytest.raises(TinyBevError, match='stamp is'):
        TensorLabels(stamp=stamp)


@pytest.mark.parametrize(
    ('k', 'd', 'reason'),
    [
        ((1,) * 8, (0,) * 5, 'k is [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]; expected 9 finite'),
        ((1,) * 8 + (math.inf,), (0,) * 5, 'expected 9 finite'),
        (K, (0,) * 4, 'd is [0.0, 0.0, 0.0, 0.0]; expected 5 or 8 finite'),
        (K, (math.nan,) * 5, 'expected 5 or 8 finite'),
    ],
)
def test_refused_calibrations(k, d, reason):
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        CameraCalibration(k, d)


def test_refused_frame():
    with pytest.raises(TinyBevError, match='frame_id is'):
        TensorLabels(frame_id='\ud800')


# Pillars

PILLAR_TEXTS = [
    'pillar;stamp=1700000000.000000005;frame_id=map%201%3B%3D%25%C3%BC',
    'channel',
    'height;cells=496;origin=-39.68;step=0.16',
    'width;cells=432;origin=0.0;step=0.3333333333333333',
]


def test_labels_of_pillars():
    assert format_labels(FULL, (496, 432)) == PILLAR_TEXTS
    names, labels, canvas = parse_pillar_labels(PILLAR_TEXTS)
    assert names == ['pillar', 'channel', 'height', 'width']
    assert (labels, canvas) == (FULL, (496, 432))
    again = parse_pillar_labels([*reversed(PILLAR_TEXTS), 'byte;dtype=float16'], float16=True)
    assert again == (names[::-1], FULL, (496, 432))


@pytest.mark.parametrize(
    ('texts', 'reason'),
    [
        (PILLAR_TEXTS[:3], 'layout.dim has 3 entries; expected 4'),
        ([*PILLAR_TEXTS, 'pillar'], 'layout.dim has 5 entries; expected 4'),
        (['', '', '', ''], "labels are ['', '', '', '']; expected each of ['pillar', "),
        ([*PILLAR_TEXTS[:2], 'height', 'width'], "'height', without cells"),
    ],
)
def test_refused_labels_of_pillars(texts, reason):
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        parse_pillar_labels(texts)


def test_a_float16_counts_its_bytes():
    with pytest.raises(TinyBevError, match=r'layout.dim has 4 entries; expected 5'):
        parse_pillar_labels([*PILLAR_TEXTS[:3], 'byte;dtype=float16'], float16=True)


def test_a_coarser_map():
    coarser = FULL.strided(2)
    assert coarser == TensorLabels(
        FULL.stamp, FULL.frame_id, Axis(-39.68, 0.32), Axis(0.0, 2 * (1 / 3))
    )
    assert TensorLabels((1, 2)).strided(2) == TensorLabels((1, 2))
    assert TensorLabels(calibration=CameraCalibration(K)).strided(2) == TensorLabels()


def test_grid_of_labels():
    labels = TensorLabels(y_axis=Axis(-3.0, 0.5), x_axis=Axis(1.0, 0.5))
    grid = grid_from_labels(labels, (12, 8))
    assert (grid.x_range, grid.y_range, grid.resolution) == ((1.0, 5.0), (-3.0, 3.0), 0.5)
    with pytest.raises(TinyBevError, match='square'):
        grid_from_labels(TensorLabels(y_axis=Axis(0, 1), x_axis=Axis(0, 2)), (1, 1))
