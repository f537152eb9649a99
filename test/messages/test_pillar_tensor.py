# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.pillar_tensor import check_canvas, decode_pillars, encode_pillars
from tiny_bev_ros.messages.tensor import decode_tensor, encode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels

LABELS = TensorLabels((5, 7), 'velo dyne', Axis(-8.0, 0.5), Axis(0.0, 0.25))
CANVAS = (30, 40)


def some(count: int = 6, channels: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and cells, in no order."""
    random = np.random.default_rng(seed)
    flat = random.choice(CANVAS[0] * CANVAS[1], count, replace=False)
    cells = np.stack(np.divmod(flat, CANVAS[1]), 1)
    features = random.normal(size=(count, channels)).astype(np.float16).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(cells)


def message(encoding: str = 'float32', **changes: Any):
    return encode_pillars(*some(**changes), CANVAS, LABELS, encoding)


@pytest.mark.parametrize(
    ('encoding', 'message_type'),
    [('float32', Float32MultiArray), ('float16', UInt8MultiArray)],
)
def test_message_layout(encoding: str, message_type: type):
    msg = message(encoding)
    assert type(msg) is message_type
    bytes_each = 1 if encoding == 'float32' else 2
    dims = [(dim.label, dim.size, dim.stride) for dim in msg.layout.dim]
    assert dims[:4] == [
        ('pillar;stamp=5.000000007;frame_id=velo%20dyne', 6, 36 * bytes_each),
        ('channel', 6, 6 * bytes_each),
        ('height;cells=30;origin=-8.0;step=0.5', 1, bytes_each),
        ('width;cells=40;origin=0.0;step=0.25', 1, bytes_each),
    ]
    assert dims[4:] == ([] if encoding == 'float32' else [('byte;dtype=float16', 2, 2)])


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
@given(count=st.integers(0, 50), channels=st.integers(1, 9), seed=st.integers(0, 99))
def test_round_trip(encoding: str, count: int, channels: int, seed: int):
    features, cells = some(count, channels, seed)
    decoded = decode_pillars(encode_pillars(features, cells, CANVAS, LABELS, encoding))
    np.testing.assert_array_equal(decoded.features, features.numpy())
    np.testing.assert_array_equal(decoded.cells, cells.numpy())
    assert decoded.features.dtype == encoding
    assert decoded.cells.dtype == np.int64
    assert (decoded.canvas, decoded.labels) == (CANVAS, LABELS)


def test_features_are_a_view():
    msg = message()
    assert np.shares_memory(decode_pillars(msg).features, np.frombuffer(msg.data, np.float32))


def test_float16_features_may_be_given():
    features, cells = some()
    decoded = decode_pillars(encode_pillars(features.half(), cells, CANVAS, LABELS))
    np.testing.assert_array_equal(decoded.features, features.numpy())


def test_a_map_without_axes():
    decoded = decode_pillars(encode_pillars(*some(), CANVAS, TensorLabels()))
    assert decoded.labels == TensorLabels()


@pytest.mark.parametrize(
    ('canvas', 'encoding', 'reason'),
    [
        ((2049, 10), 'float16', '2049 x 10 cells; expected 1 to 2048 along each side'),
        ((10, 0), 'float32', '10 x 0 cells'),
        ((1, 2**24 + 1), 'float32', 'expected 1 to 16777216'),
        ((10, 10), 'float64', "encoding is 'float64'"),
    ],
)
def test_a_canvas_that_cannot_be_counted(canvas: tuple[int, int], encoding: str, reason: str):
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        check_canvas(canvas, encoding)
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        encode_pillars(*some(), canvas, LABELS, encoding)


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
def test_the_last_cell_of_the_largest_canvas(encoding: str):
    side = 2048
    cells = torch.tensor([[side - 1, side - 2], [side - 1, side - 1]])
    decoded = decode_pillars(
        encode_pillars(torch.zeros(2, 1), cells, (side, side), LABELS, encoding)
    )
    np.testing.assert_array_equal(decoded.cells, cells.numpy())


@pytest.mark.parametrize('encoding', ['float32', 'float16'])
@pytest.mark.parametrize('cell', [(-1, 0), (0, -3), (CANVAS[0], 0), (0, CANVAS[1])])
def test_the_encoder_refuses_cells_outside_of_the_canvas(cell: tuple[int, int], encoding: str):
    features, cells = some()
    cells = torch.as_tensor(cells).clone()
    cells[-1] = torch.tensor(cell)
    with pytest.raises(TinyBevError, match=f'row {cell[0]}, column {cell[1]} at pillar'):
        encode_pillars(features, cells, CANVAS, LABELS, encoding)
    with pytest.raises(TinyBevError, match=r'cells dtype is .*float32; expected int64'):
        encode_pillars(features, cells.float(), CANVAS, LABELS, encoding)


def test_the_encoder_refuses_what_does_not_fit():
    features, cells = some()
    with pytest.raises(TinyBevError, match='features dtype is float64'):
        encode_pillars(features.double(), cells, CANVAS, LABELS)
    with pytest.raises(TinyBevError, match=re.escape('features are (6, 4) and cells (5, 2)')):
        encode_pillars(features, cells[1:], CANVAS, LABELS)
    features[3, 2] = float('inf')
    with pytest.raises(TinyBevError, match='features holds inf at pillar 3, channel 2'):
        encode_pillars(features, cells, CANVAS, LABELS)
    features[3, 2] = 1e5
    with pytest.raises(TinyBevError, match=r'100000 at pillar 3, channel 2; .* range of float16'):
        encode_pillars(features, cells, CANVAS, LABELS, 'float16')


def set_value(index: int, value: float):
    def change(msg) -> None:
        msg.data[index] = value

    return change


def same_cell(msg) -> None:
    msg.data[6:8] = msg.data[0:2]


def set_dim(index: int, name: str, value: Any):
    def change(msg) -> None:
        setattr(msg.layout.dim[index], name, value)

    return change


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (set_value(6, 30.0), r'data holds row 30, column \d+ at pillar 1; expected whole numbers'),
        (set_value(7, -1.0), r'column -1 at pillar 1'),
        (set_value(0, 1.5), r'row 1.5, column \d+ at pillar 0'),
        (set_value(0, 3e38), r'row 3e\+38'),
        (set_value(13, float('nan')), r'data holds nan at pillar 2, channel 1'),
        (set_value(15, float('inf')), r'data holds inf at pillar 2, channel 3'),
        (same_cell, r'data holds row \d+, column \d+ more than once'),
        (set_dim(0, 'label', 'batch'), r"expected each of \['pillar'"),
        (set_dim(0, 'label', ''), r'once$'),
        (set_dim(2, 'label', 'height'), r"'height', without cells; expected cells, a whole"),
        (set_dim(2, 'label', 'height;cells=0'), r"with cells '0'; expected cells"),
        (set_dim(2, 'label', 'height;cells=1_0'), r"with cells '1_0'"),
        (set_dim(2, 'label', 'height;cells=30;step=1'), r'step alone'),
        (set_dim(0, 'label', 'pillar;stamp=1'), r"with stamp '1'"),
        (set_dim(0, 'size', 7), r'layout.dim\[0\].stride is 36; expected at least 42'),
        (set_dim(0, 'stride', 42), r'data has 36 elements'),
        (set_dim(2, 'label', 'height;cells=900000'), r'900000 x 40 cells .* expected at most'),
    ],
)
def test_refused_messages(change, reason: str):
    msg = message()
    change(msg)
    with pytest.raises(TinyBevError, match=reason) as caught:
        decode_pillars(msg)
    assert '\n' not in str(caught.value)


def test_another_number_of_features_is_refused():
    reason = re.escape('are (6, 6, 1, 1); expected (P, 2 + 64, 1, 1)')
    with pytest.raises(TinyBevError, match=reason):
        decode_pillars(message(), channels=64)
    assert len(decode_pillars(message(), channels=4).features) == 6


def test_a_place_without_features_is_refused():
    msg = message(channels=1)
    msg.layout.dim[1].size, msg.layout.dim[1].stride, msg.layout.dim[0].stride = 2, 2, 12
    msg.data = msg.data[:12]
    with pytest.raises(TinyBevError, match=r'expected \(P, 2 \+ C, 1, 1\)'):
        decode_pillars(msg)


def test_the_dense_pseudo_image_counts_for_the_limit():
    need = CANVAS[0] * CANVAS[1] * 4 * 4
    assert decode_pillars(message(), max_bytes=need).canvas == CANVAS
    with pytest.raises(TinyBevError, match=f'channels has {need} bytes; expected at most'):
        decode_pillars(message(), max_bytes=need - 1)


def test_dense_and_sparse_are_not_taken_for_each_other():
    dense = encode_tensor(np.zeros((1, 4, 3, 3), np.float32), LABELS)
    with pytest.raises(TinyBevError, match=r"expected each of \['pillar'"):
        decode_pillars(dense)
    with pytest.raises(TinyBevError, match=r"expected each of \['batch'"):
        decode_tensor(message())
    with pytest.raises(TinyBevError, match=r'layout.dim\[0\].size is 0; expected more than 0'):
        empty = message(count=0)
        empty.layout.dim[0].label = 'batch'
        decode_tensor(empty)
