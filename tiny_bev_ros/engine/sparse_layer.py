# SPDX-License-Identifier: Apache-2.0
"""One convolution computed only where its input differs from the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.engine import kernels
from tiny_bev_ros.engine.background import Background
from tiny_bev_ros.engine.chain import ConvLayer
from tiny_bev_ros.engine.groups import choose_groups, members

# Sites multiplied at once: their gathered neighbours stay in the cache.
BLOCK = 1024

Run = Callable[[Callable[[Any], None], Iterable[Any]], None]


@dataclass
class Sites:
    """Active sites of a map: what differs from the background, and where.

    Attributes:
        cells: (>= count + 1, 2) int32 [row, col], from index 1 on.
        rows: (>= count + 1, C), values less the background; row 0 is all zeros.
        count: how many there are.
    """

    channels: int
    dtype: torch.dtype
    cells: np.ndarray = field(default_factory=lambda: np.zeros((1, 2), np.int32))
    count: int = 0

    def __post_init__(self) -> None:
        self.rows = torch.zeros(1, self.channels, dtype=self.dtype)

    def resize(self, count: int) -> None:
        """Makes room for so many sites, and some to spare, if there is less."""
        self.count = count
        if count >= len(self.cells):
            room = count + count // 4 + 1
            self.cells = np.zeros((room, 2), np.int32)
            self.rows = torch.zeros(room, self.channels, dtype=self.dtype)


class SparseLayer:
    """A layer of a chain with its weights packed and its buffers kept.

    Args:
        layer: the convolution.
        background: of this layer, at the size of the map.
        shape_in: (H, W) of its input.
        dtype: of input and weights: float32, bfloat16 or float16.
        last: whether this is the last layer, whose rows are the values themselves, float32.
    """

    def __init__(
        self,
        layer: ConvLayer,
        background: Background,
        shape_in: tuple[int, int],
        dtype: torch.dtype,
        last: bool,
    ) -> None:
        self.background = background
        self._layer, self._input_dtype, self._last = layer, dtype, last
        out_channels, in_channels, kernel, _ = layer.weight.shape
        self.sites = Sites(out_channels, torch.float32 if last else dtype)
        self._room = kernel * kernel * in_channels
        self._buffers = threading.local()
        self._packed = layer.weight.permute(2, 3, 1, 0).reshape(kernel * kernel, in_channels, -1)
        self._weights: dict[int, tuple[Tensor, np.ndarray]] = {}
        self._numbers = np.zeros((shape_in[0] + 2, shape_in[1] + 2), np.int32)
        self._taps = np.zeros((len(background.row) + 2, len(background.col) + 2), np.uint16)
        self._counts = np.zeros(2 ** (kernel * kernel), np.int64)

    def find(self, sites: Sites) -> list[tuple[int, int, int]]:
        """Finds the active sites of the output; the blocks of work they make.

        Args:
            sites: of the input; only their places matter.

        Returns:
            (group, first site, site after the last) of each block.
        """
        layer, counts = self._layer, self._counts
        kernels.mark_taps(sites.cells, sites.count, layer.kernel, layer.stride, self._taps)
        self.sites.resize(kernels.count_groups(self._taps, counts))
        group_of = choose_groups(counts, layer.kernel)
        ends = 1 + np.cumsum(counts)
        kernels.place_sites(self._taps, group_of, ends - counts, self.sites.cells)
        return [
            (group, first, min(first + BLOCK, int(ends[group])))
            for group in np.flatnonzero(counts).tolist()
            for first in range(int(ends[group] - counts[group]), int(ends[group]), BLOCK)
        ]

    def macs(self, blocks: list[tuple[int, int, int]]) -> int:
        """Multiplications that blocks of work cost."""
        return sum((end - begin) * self._part(group)[0].numel() for group, begin, end in blocks)

    def compute(self, sites: Sites, blocks: list[tuple[int, int, int]], run: Run) -> None:
        """Computes `self.sites.rows` from the rows of the input sites."""
        kernels.number_sites(sites.cells, sites.count, self._numbers)
        run(lambda block: self._compute_block(sites, *block), blocks)
        kernels.clear_sites(sites.cells, sites.count, self._numbers)

    def _compute_block(self, sites: Sites, group: int, begin: int, end: int) -> None:
        (weight, offsets), count = self._part(group), end - begin
        gathered, product, result = self._block_buffers(weight.dtype)
        gathered = gathered[: count * len(weight)].view(count, len(weight))
        cells = self.sites.cells
        kernels.gather(
            as_numpy(sites.rows),
            self._numbers,
            cells,
            begin,
            end,
            self._layer.stride,
            offsets,
            as_numpy(gathered),
        )
        torch.mm(gathered, weight, out=product[:count])
        if product is not result:
            result[:count].copy_(product[:count])
        rows = self.sites.rows[begin:end]
        target = rows if rows.dtype == torch.float32 else result
        background = self.background
        kernels.finish(
            result.numpy(),
            cells,
            begin,
            end,
            background.row,
            background.col,
            background.before,
            background.after,
            self._layer.relu,
            not self._last,
            target.numpy(),
        )
        if target is result:
            rows.copy_(result[:count])

    def _part(self, group: int) -> tuple[Tensor, np.ndarray]:
        """Weights (taps * C_in, C_out) of a group, and the places of its taps."""
        if group not in self._weights:
            kernel = self._layer.kernel
            taps, edge = members(group, kernel), 1 - kernel // 2
            weight = self._packed[taps].flatten(0, 1).to(self._input_dtype).contiguous()
            places = [(tap // kernel + edge, tap % kernel + edge) for tap in taps]
            self._weights[group] = weight, np.array(places, np.int64)
        return self._weights[group]

    def _block_buffers(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Gathered neighbours (flat), their product, and it in float32; one set per thread."""
        kept = self._buffers
        if not hasattr(kept, 'gathered'):
            kept.gathered = torch.empty(BLOCK * self._room, dtype=dtype)
            kept.result = torch.empty(BLOCK, self.sites.channels)
            same = dtype == torch.float32
            kept.product = kept.result if same else torch.empty_like(kept.result, dtype=dtype)
        return kept.gathered, kept.product, kept.result


def as_numpy(x: Tensor) -> np.ndarray:
    """A view for kernels that only copy; NumPy has no bfloat16."""
    return x.numpy() if x.dtype == torch.float32 else x.view(torch.int16).numpy()
