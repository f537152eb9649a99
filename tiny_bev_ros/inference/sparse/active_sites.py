# SPDX-License-Identifier: Apache-2.0
"""The active sites of a map, as one sparse layer hands them to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.row_padding import padded

# Does a piece of work for each of the blocks into which it is cut, perhaps on several threads.
Run = Callable[[Callable[[Any], None], Iterable[Any]], None]


class ActiveSites:
    """What differs from the background, and where.

    Args:
        channels: of the map.
        dtype: of the rows.

    Attributes:
        count: how many there are.
        cells: (>= count + 1, 2) int32 [row, col], from index 1 on.
        rows: (>= count + 1, padded(channels)), values less the background; row 0 is all zeros.
        flat: of the rows, for kernels.
    """

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        self.channels = padded(channels)
        self._dtype = dtype
        self._allocate(1)

    def resize(self, count: int) -> None:
        """Makes room for so many sites, and some to spare, if there is less."""
        if count >= len(self.cells):
            self._allocate(count + count // 4 + 1)
        self.count = count

    def _allocate(self, room: int) -> None:
        self.count = 0
        self.cells: np.ndarray = np.zeros((room, 2), np.int32)
        self.rows = torch.zeros(room, self.channels, dtype=self._dtype)
        self.flat = as_numpy(self.rows)


class PaddedBackground:
    """A layer's background as kernels take it, its channels filled up with zeros."""

    def __init__(self, background: Background) -> None:
        self.row, self.col = background.row, background.col
        more = padded(background.after.shape[2]) - background.after.shape[2]
        self.before, self.after = (
            np.pad(table, ((0, 0), (0, 0), (0, more)))
            for table in (background.before, background.after)
        )

    def __iter__(self) -> Any:
        return iter((self.row, self.col, self.before, self.after))


def padded_weight(weight: Tensor) -> Tensor:
    """(C_out, C_in, k, k) with both channels filled up with zeros."""
    out_channels, in_channels = weight.shape[:2]
    more_in, more_out = padded(in_channels) - in_channels, padded(out_channels) - out_channels
    return torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, more_in, 0, more_out))
