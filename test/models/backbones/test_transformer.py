# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Attention within windows: the receptive field, and equality with the definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import TransformerBEVBackbone, seeded
from tiny_bev_ros.models.backbones import transformer
from tiny_bev_ros.models.backbones.transformer import _Layer


def layer(shift, window=4, channels=8, heads=2):
    with seeded(0):
        return _Layer(channels, heads, window, shift).double().eval()


def receptive_field(made, row, col, shape=(8, 8)):
    """Rows and columns of the cells on which the output at one cell depends."""
    cells = torch.randn(1, *shape, 8, dtype=torch.float64, requires_grad=True)
    made(cells)[0, row, col].pow(2).sum().backward()
    rows, cols = (cells.grad.abs().sum(3)[0] > 1e-12).nonzero(as_tuple=True)
    return set(rows.tolist()), set(cols.tolist())


def test_a_cell_attends_to_its_window_alone():
    assert receptive_field(layer(shift=0), 1, 6) == ({0, 1, 2, 3}, {4, 5, 6, 7})


def test_shifted_windows_lie_across_the_others_and_do_not_wrap():
    made = layer(shift=2)
    assert receptive_field(made, 3, 3) == ({2, 3, 4, 5}, {2, 3, 4, 5})
    assert receptive_field(made, 0, 7) == ({0, 1}, {6, 7})


def test_a_window_over_the_edge_attends_to_cells_on_the_map():
    assert receptive_field(layer(shift=0), 5, 4, shape=(6, 5)) == ({4, 5}, {4})


def test_it_is_attention_with_a_bias_of_relative_position():
    made = layer(shift=0)
    cells = torch.randn(1, 4, 4, 8, dtype=torch.float64)
    tokens = made.norm(cells).view(16, 8)
    queries, keys, values = (
        part(tokens).view(16, 2, 4) for part in (made.queries, made.keys, made.values)
    )
    expected = torch.zeros(16, 2, 4, dtype=torch.float64)
    for head in range(2):
        for one in range(16):
            logits = []
            for other in range(16):
                down, across = one // 4 - other // 4, one % 4 - other % 4
                bias = made.position_bias[head, (down + 3) * 7 + across + 3]
                logits.append(queries[one, head] @ keys[other, head] / 2 + bias)
            expected[one, head] = torch.stack(logits).softmax(0) @ values[:, head]
    attended = cells + made.output(expected.view(1, 4, 4, 8))
    torch.testing.assert_close(made(cells), attended + made.mlp(attended))


@pytest.mark.parametrize(('shift', 'windows'), [(0, 1), (2, 9)])
def test_windows_lie_in_the_batch_and_share_a_mask_where_no_cell_is_padded(
    shift, windows, monkeypatch
):
    shapes = []

    def attention(queries, keys, values, attn_mask):
        shapes.append((queries.shape, attn_mask.shape))
        return scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)

    monkeypatch.setattr(transformer, 'scaled_dot_product_attention', attention)
    layer(shift)(torch.randn(1, 8, 8, 8, dtype=torch.float64))
    number = 9 if shift else 4
    assert shapes == [((number, 2, 16, 4), (windows, 2, 16, 16))]


@pytest.mark.parametrize('shift', [0, 2])
def test_attention_runs_in_one_fused_kernel(shift):
    kernels = pytest.importorskip('torch.nn.attention')
    with torch.inference_mode():
        made, cells = layer(shift).float(), torch.randn(2, 6, 9, 8)
        with kernels.sdpa_kernel(kernels.SDPBackend.MATH):
            expected = made(cells)
        with kernels.sdpa_kernel(kernels.SDPBackend.FLASH_ATTENTION):  # raises where it cannot
            torch.testing.assert_close(made(cells), expected)


def test_layers_take_turns_in_shifting():
    assert [each.shift for each in TransformerBEVBackbone(window=6).layers] == [0, 3, 0, 3]


def test_channels_must_be_shared_evenly():
    with pytest.raises(TinyBevError, match='mid_channels is 30; expected a multiple of heads, 4'):
        TransformerBEVBackbone(mid_channels=30)
