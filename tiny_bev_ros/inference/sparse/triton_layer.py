# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Layer of the sparse path on CUDA: arguments and sizes of Triton's kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.kernels import triton_kernels, triton_launch
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.block_sizes import BlockSizes, block_sizes, padded_channels
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Side of the squares of cells in which active sites are listed.
_TILE = 16
# Sites of a program that multiplies nothing.
_SITES = 64


@dataclass(frozen=True)
class SiteList:
    """Active sites of a map, whose number is known to the device alone.

    Attributes:
        count: (1,) int32 number of sites.
        cells: (>= cells of the map,) int32, index row * w + col of the cell of each site.
        index_map: (h + 2, w + 2) int32 number of the site of each cell, from 1; 0 without one.
    """

    count: Tensor
    cells: Tensor
    index_map: Tensor


def new_index_map(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the index map of a map (H,W) without active sites."""
    return torch.zeros(shape[0] + 2, shape[1] + 2, dtype=torch.int32, device=device)


def mark_pillars(features: Tensor, cells: Tensor, rows: Tensor, index_map: Tensor) -> None:
    """Writes pillars into the input of a chain.

    Args:
        features: (N,C) features, contiguous.
        cells: (N,2) cells [row, col], contiguous.
        rows: flat buffer of the compute dtype, as for `TritonLayer.compute`.
        index_map: index map of the input.
    """
    padded = padded_channels(features.shape[1])
    index_map.zero_()
    triton_launch.launch(
        triton_kernels.mark_pillars,
        (max(1, _blocks(len(features), _SITES)),),
        features,
        cells,
        len(features),
        rows,
        index_map,
        index_map.shape[1],
        features.shape[1],
        padded=padded,
        block_sites=_SITES,
        block_channels=min(padded, 64),
        num_warps=4,
    )


class TritonLayer:
    """Layer of a chain on CUDA, with weights and background as the kernels take them.

    Args:
        layer: convolution, 1x1 or 3x3 of any stride.
        background: background of the layer.
        dtype: compute dtype.
        device: device of the computation.

    Attributes:
        shape: (h,w) of the output.
        channels: number of output channels.
    """

    def __init__(
        self, layer: ConvLayer, background: Background, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.channels, in_channels = layer.weight.shape[:2]
        self.shape = (len(background.row), len(background.col))
        self._layer = layer
        self._padded_in, self._padded = (
            padded_channels(in_channels),
            padded_channels(self.channels),
        )
        more_in, more = self._padded_in - in_channels, self._padded - self.channels
        weight = nn.functional.pad(layer.weight, (0, 0, 0, 0, 0, more_in, 0, more))
        self._weight = weight.permute(2, 3, 1, 0).flatten(0, 2).to(device, dtype).contiguous()
        tables = (
            nn.functional.pad(torch.from_numpy(table).flatten(0, 1), (0, more))
            for table in (background.pre_relu, background.post_relu)
        )
        self._pre_relu, self._post_relu = (table.to(device) for table in tables)
        row = torch.from_numpy(background.row) * background.post_relu.shape[1]
        self._row = row.to(device)
        self._col = torch.from_numpy(background.col).to(device)
        self._blocks: BlockSizes = block_sizes(self._padded_in, self._padded, dtype)

    def find(self, index_in: Tensor, sites: SiteList) -> None:
        """Lists the active sites of the output.

        Args:
            index_in: index map of the input.
            sites: sites of the output, whose count is zero before.
        """
        height, width = self.shape
        triton_launch.launch(
            triton_kernels.find_sites,
            (_blocks(width, _TILE), _blocks(height, _TILE)),
            index_in,
            sites.count,
            sites.cells,
            sites.index_map,
            index_in.shape[1],
            height,
            width,
            kernel=self._layer.kernel,
            stride=self._layer.stride,
            tile=_TILE,
            num_warps=4,
        )

    def compute(
        self, rows: Tensor, index_in: Tensor, sites: SiteList, out: Tensor, into_map: bool
    ) -> None:
        """Computes the output at its active sites.

        Args:
            rows: flat buffer with the deltas of the input's sites, a padded row for each.
            index_in: index map of the input.
            sites: active sites of the output.
            out: flat buffer for the deltas of the output's sites, or its map.
            into_map: True to write activations into a map (h,w,C), False to write deltas.
        """
        triton_launch.launch(
            triton_kernels.convolve_sites,
            self._grid(self._blocks.sites),
            rows,
            index_in,
            sites.count,
            sites.cells,
            self._weight,
            self._pre_relu,
            self._post_relu,
            self._row,
            self._col,
            out,
            index_in.shape[1],
            self.shape[1],
            out_channels=self.channels,
            kernel=self._layer.kernel,
            stride=self._layer.stride,
            padded_in=self._padded_in,
            padded_out=self._padded,
            relu=self._layer.relu,
            into_map=into_map,
            **self._blocks.constants(),
            **self._blocks.options(),
        )

    def restore(self, sites: SiteList, out: Tensor) -> None:
        """Writes the background into a map (h,w,C), at the sites of an earlier frame."""
        triton_launch.launch(
            triton_kernels.restore_background,
            self._grid(_SITES),
            sites.count,
            sites.cells,
            self._post_relu,
            self._row,
            self._col,
            out,
            self.shape[1],
            out_channels=self.channels,
            padded_out=self._padded,
            block_sites=_SITES,
            block_out=self._blocks.out,
            num_warps=4,
        )

    def _grid(self, block: int) -> tuple[int, int]:
        """Returns the number of programs with which every cell could be active."""
        return _blocks(self.shape[0] * self.shape[1], block), self._padded // self._blocks.out


def _blocks(size: int, block: int) -> int:
    return -(-size // block)
