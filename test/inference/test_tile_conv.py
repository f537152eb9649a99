# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of convolutions of dense maps by Winograd's method."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.inference.kernels import hot_tiles, map_winograd
from tiny_bev_ros.inference.tile_conv import TileConv2d, takes_tiles, use_tiles
from tiny_bev_ros.inference.worker_pool import WorkerPool
from tiny_bev_ros.models import build_heads, seeded

CPU = torch.device('cpu')


@torch.inference_mode()
@pytest.mark.parametrize('relu', [True, False])
@pytest.mark.parametrize('size', [(1, 1), (3, 9), (4, 8), (37, 50)])
@pytest.mark.parametrize(('channels', 'out_channels'), [(16, 48), (64, 32)])
def test_equals_the_convolution(
    size: tuple[int, int], channels: int, out_channels: int, relu: bool
) -> None:
    with seeded(0):
        conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=relu)
        x = torch.randn(2, channels, *size)
    expected = conv(x).relu() if relu else conv(x)
    for threads in (1, 2):
        tiled = TileConv2d(conv, relu, WorkerPool(threads))
        for layout in (torch.contiguous_format, torch.channels_last):
            result = tiled(x.to(memory_format=layout))
            assert result.is_contiguous(memory_format=torch.channels_last)
            assert (result - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.inference_mode()
def test_convolutions_on_the_same_threads_share_buffers() -> None:
    workers = WorkerPool(1)
    with seeded(0):
        convs = [nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)]
        x = torch.randn(1, 16, 21, 19)
    tiled = [TileConv2d(conv, False, workers) for conv in convs]
    for _ in range(2):
        for conv, tile in zip(convs, tiled, strict=True):
            assert torch.allclose(tile(x), conv(x), atol=1e-4)
    first, second = (tile(x) for tile in [tiled[0]] * 2)
    assert first.data_ptr() != second.data_ptr(), "a result is the caller's"


@torch.inference_mode()
@pytest.mark.parametrize('value', [1e6, float('inf'), float('nan')])
def test_a_hot_cell_changes_its_neighbours_alone(value: float) -> None:
    with seeded(0):
        conv = nn.Conv2d(16, 32, 3, padding=1)
        x = torch.randn(1, 16, 30, 22)
    x[0, :, 14, 9] = value
    expected = copy.deepcopy(conv).double()(x.double())
    result = TileConv2d(conv, False, WorkerPool(1))(x)
    near = torch.zeros(30, 22, dtype=torch.bool)
    near[13:16, 8:11] = True
    error = (result - expected)[..., ~near].abs()
    assert error.max() <= 1e-5 * expected[..., ~near].abs().max()
    torch.testing.assert_close(
        result[..., near].double(), expected[..., near], rtol=1e-4, atol=0.1, equal_nan=True
    )


@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, 3, padding=1, stride=2),
        nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode='reflect'),
        nn.Conv2d(12, 16, 3, padding=1),
        nn.Conv2d(16, 12, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding=1).double(),
        nn.Identity(),
    ],
)
def test_other_layers_stay(layer: nn.Module) -> None:
    assert not takes_tiles(layer)
    network = nn.Sequential(layer, nn.ReLU())
    use_tiles(network, WorkerPool(1))
    assert network[0] is layer and type(network[1]) is nn.ReLU


def test_kernels_are_compiled_before_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for module, name in (
        (map_winograd, 'transform_map'),
        (map_winograd, 'write_map'),
        (hot_tiles, 'compute_cells'),
    ):
        kernel = getattr(module, name)

        def record(*arguments: Any, kernel: Any = kernel, name: str = name) -> Any:
            called.append(name)
            return kernel(*arguments)

        monkeypatch.setattr(module, name, record)
    use_tiles(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)), WorkerPool(1))
    assert called == ['transform_map', 'write_map', 'compute_cells']


def test_heads_in_float32_run_on_tiles() -> None:
    head = build_heads(['detection'], in_channels=16)['detection'].eval()
    for dtype, kind in ((torch.float32, TileConv2d), (torch.bfloat16, nn.Conv2d)):
        module = FoldedModule(head, CPU, dtype).module
        assert type(module.shared[0]) is kind
    assert type(head.shared[0]) is nn.Conv2d, 'the given module was changed'
