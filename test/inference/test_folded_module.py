# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of the part of a network that is prepared once for its device and dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from shaken_networks import shaken
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tiny_bev_ros.inference.folded_module import FoldedModule
from tiny_bev_ros.models import build_backbone, build_heads, seeded

CPU = torch.device('cpu')


class _Conversions(TorchDispatchMode):
    """Counts the tensors that are copied to another dtype or memory format."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = str(function.overloadpacket).removeprefix('aten.')
        if name in {'to', '_to_copy', 'clone', 'contiguous', 'copy_'}:
            self.count += result.data_ptr() != args[0].data_ptr()
        return result


class _Viewing(nn.Module):
    """Network whose view of its map needs the contiguous format."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        return self.norm(maps.view(len(x), 8, -1).transpose(1, 2))


@pytest.fixture
def fpn() -> nn.Module:
    """Backbone with a part that follows its chain."""
    with seeded(0), torch.no_grad():
        return shaken(build_backbone('fpn', in_channels=8, mid_channels=24, out_channels=16))


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_results_are_those_of_the_module_itself(fpn: nn.Module, dtype: torch.dtype) -> None:
    x = torch.rand(1, 24, 40, 36)
    expected = fpn.after_chain(x)
    folded = FoldedModule(fpn, CPU, dtype, 'after_chain')
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    for layout in (torch.contiguous_format, torch.channels_last):
        for given in (x, x.to(dtype)):
            result = folded(given.to(memory_format=layout))
            assert result.dtype == dtype
            assert (result - expected).abs().max() <= tolerance * expected.abs().max()


def test_maps_in_half_precision_are_neither_converted_nor_reordered(fpn: nn.Module) -> None:
    folded = FoldedModule(fpn, CPU, torch.bfloat16, 'after_chain')
    x = torch.rand(1, 24, 40, 36).to(torch.bfloat16, memory_format=torch.channels_last)
    with _Conversions() as conversions:
        result = folded(x)
    assert not conversions.count
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_heads_convert_their_maps_alone() -> None:
    heads = shaken(build_heads(['detection', 'drivable'], in_channels=16))
    # The maps of detection are contiguous, too, as each is decoded by itself.
    copies = {'detection': 2, 'drivable': 1}
    x = torch.rand(1, 16, 24, 24).to(torch.bfloat16, memory_format=torch.channels_last)
    for name, head in heads.items():
        folded = FoldedModule(head, CPU, torch.bfloat16)
        with _Conversions() as conversions:
            folded(x)
        assert conversions.count == copies[name]


def test_network_that_views_its_map_stays_contiguous() -> None:
    network = _Viewing().eval()
    x = torch.rand(1, 4, 6, 5).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = network(x.contiguous())
    assert torch.allclose(FoldedModule(network, CPU, torch.float32)(x), expected, atol=1e-6)
    result = FoldedModule(network, CPU, torch.bfloat16)(x)
    assert torch.allclose(result.float(), expected, atol=0.05)
    assert network.conv.weight.dtype == torch.float32, 'the given module was changed'
