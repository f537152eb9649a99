# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sparse evaluation of a chain on CUDA, by Triton's kernels; the host never waits for the device.

The method is that of `tiny_bev_ros.inference.sparse.sparse_chain`: background plus delta. The
number of active sites stays on the device, and the kernels are launched for as many as the map
has cells, so buffers never grow and all launches but that for the pillars are recorded as a CUDA
graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tiny_bev_ros.inference.cuda_graph import Capture, RecordedWork, ResultCopies
from tiny_bev_ros.inference.sparse.background import Background, backgrounds
from tiny_bev_ros.inference.sparse.block_sizes import padded_channels
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.torch_chain import active_pillars
from tiny_bev_ros.inference.sparse.triton_layer import (
    SiteList,
    TritonLayer,
    mark_pillars,
    new_index_map,
)

Network = Callable[[Tensor], Tensor]


class TritonChain:
    """Sparse evaluation of a chain on CUDA for maps of one size; keeps its buffers.

    Args:
        layers: layers of the chain.
        shape: (H,W) of the map.
        dtype: compute dtype, also of the deltas between layers and of the output.
        device: device of the computation.
        capture: records launches; None where they are not recorded.
        after: network that follows the chain and is recorded with it: (1,C,h,w) to (1,C',h',w').

    Attributes:
        computes_after: True if a network follows the chain.
    """

    @torch.inference_mode()
    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
        capture: Capture | None = None,
        after: Network | None = None,
    ) -> None:
        steps = _Steps(layers, backgrounds(layers, shape), shape, dtype, device)
        self._steps, self.computes_after = steps, after is not None
        # Two outputs take turns. With a network behind the chain its result is copied instead, as
        # a second recording would take the memory of its activations again.
        self._works = [
            RecordedWork(partial(steps.run, _Output(steps), after), device, capture)
            for _ in range(2 if after is None else 1)
        ]
        self._copies = ResultCopies()

    @property
    def no_graph_reason(self) -> str:
        """Reason for which the launches could not be recorded; '' for none."""
        return next((work.no_graph_reason for work in self._works if work.no_graph_reason), '')

    @torch.inference_mode()
    def active(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Extracts the non-empty cells of a map: features (N,C) and cells (N,2).

        The host waits for their number.

        Args:
            canvas: (C,H,W) pseudo-image.
        """
        return active_pillars(canvas)

    def find(self, cells: Tensor) -> float:
        """Takes the non-empty cells.

        Args:
            cells: (N,2) non-empty cells [row, col], all different.

        Returns:
            NaN for the number of multiplications, for which the host would have to wait.
        """
        self._cells = cells
        return math.nan

    @torch.inference_mode()
    def compute(self, features: Tensor) -> Tensor:
        """Computes the output of the chain, and of the network after it.

        Args:
            features: (N,C) features of the cells that were passed to `find`.

        Returns:
            (C_out,h,w), of the chain channels_last in the compute dtype; overwritten by the second
            next call.
        """
        # All at the first frame, which is that of the warm-up, and before the pillars are written:
        # a recording runs the work several times, and the layers overwrite their input.
        for work in self._works:
            work.record()
        steps = self._steps
        mark_pillars(
            features.contiguous(), self._cells.contiguous(), steps.rows[0], steps.index_maps[0]
        )
        self._works.reverse()
        result = self._works[0]()
        if self.computes_after and self._works[0].is_recorded:
            result = self._copies(result)
        return result[0]


class _Steps:
    """Layers of a chain and the buffers between them.

    Attributes:
        layers: layers of the chain.
        background: background of the last layer.
        index_maps: index map of the input of each layer, and of the output.
        rows: two flat buffers for the deltas of the sites; layers read one and write the other.
    """

    def __init__(
        self,
        layers: tuple[ConvLayer, ...],
        tables: list[Background],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.layers = [
            TritonLayer(layer, table, dtype, device)
            for layer, table in zip(layers, tables, strict=True)
        ]
        self.background, self.dtype, self.device = tables[-1], dtype, device
        shapes = [shape, *(layer.shape for layer in self.layers)]
        self.index_maps = [new_index_map(each, device) for each in shapes]
        areas = [rows * cols for rows, cols in shapes]
        channels = [layers[0].weight.shape[1], *(layer.channels for layer in self.layers)]
        sizes = [
            area * padded_channels(each)
            for area, each in zip(areas[:-1], channels[:-1], strict=True)
        ]
        self.rows = [
            torch.empty(max(sizes[first::2], default=1), dtype=dtype, device=device)
            for first in range(2)
        ]
        self._cells = torch.empty(max(areas[1:-1], default=1), dtype=torch.int32, device=device)

    def run(self, output: _Output, after: Network | None) -> Tensor:
        """Computes (1,C_out,h,w) of the marked pillars; all launches read and write kept tensors.

        Args:
            output: output map and the sites of its last frame.
            after: network that follows the chain.
        """
        last = len(self.layers) - 1
        self.layers[last].restore(output.sites, output.map)
        output.counts.zero_()
        for index, layer in enumerate(self.layers):
            index_in = self.index_maps[index]
            sites = output.sites
            if index != last:
                count = output.counts[index : index + 1]
                sites = SiteList(count, self._cells, self.index_maps[index + 1])
            layer.find(index_in, sites)
            target = output.map if index == last else self.rows[(index + 1) % 2]
            layer.compute(self.rows[index % 2], index_in, sites, target, index == last)
        result = output.map.permute(2, 0, 1)[None]
        return result if after is None else after(result)


class _Output:
    """Output map of the background and of the values at the sites of its last frame.

    Attributes:
        map: (h,w,C) output map.
        counts: (layers,) int32 number of active sites of each layer.
        sites: sites of the map.
    """

    def __init__(self, steps: _Steps) -> None:
        full = torch.from_numpy(steps.background.full()).permute(1, 2, 0)
        self.map = full.to(steps.device, steps.dtype).contiguous()
        self.counts = torch.zeros(len(steps.layers), dtype=torch.int32, device=steps.device)
        cells = torch.empty(full.shape[0] * full.shape[1], dtype=torch.int32, device=steps.device)
        self.sites = SiteList(self.counts[-1:], cells, steps.index_maps[-1])
