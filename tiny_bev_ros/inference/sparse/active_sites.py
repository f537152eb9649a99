# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Active sites of a map: the input and output format of sparse layers on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.kernels.simd import as_numpy
from tiny_bev_ros.inference.sparse.background import Background
from tiny_bev_ros.inference.sparse.row_padding import padded

# Calls a function with each of a sequence of blocks, possibly on several threads.
BlockRunner = Callable[[Callable[[Any], None], Iterable[Any]], None]


class ActiveSites:
    """Sites whose values differ from the background: their cells and their values.

    Args:
        channels: number of channels of the map.
        dtype: dtype of the rows.

    Attributes:
        channels: length of a row, `padded(channels)`.
        count: number of active sites.
        cells: (>= count + 1, 2) int32 [row, col] of each site, from index 1 on.
        rows: (>= count + 1, padded(channels)) values minus the background; row 0 is all zeros.
        flat: flat view of the rows for kernels.
    """

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        self.channels = padded(channels)
        self._dtype = dtype
        self._allocate(1)

    def resize(self, count: int) -> None:
        """Sets the number of sites; allocates larger buffers, with spare room, if needed."""
        if count >= len(self.cells):
            self._allocate(count + count // 4 + 1)
        self.count = count

    def _allocate(self, room: int) -> None:
        self.count = 0
        self.cells: np.ndarray = np.zeros((room, 2), np.int32)
        self.rows = torch.zeros(room, self.channels, dtype=self._dtype)
        self.flat = as_numpy(self.rows)


def padded_background(background: Background) -> tuple[np.ndarray, ...]:
    """Returns (row, col, pre_relu, post_relu) of a background, as kernels take them.

    The channels of both tables are padded with zeros.
    """
    channels = background.post_relu.shape[2]
    tables = (
        np.pad(table, ((0, 0), (0, 0), (0, padded(channels) - channels)))
        for table in (background.pre_relu, background.post_relu)
    )
    return (background.row, background.col, *tables)


def padded_weight(weight: Tensor) -> Tensor:
    """Pads both channel axes of a weight (C_out, C_in, k, k) with zeros."""
    out_channels, in_channels = weight.shape[:2]
    more_in, more_out = padded(in_channels) - in_channels, padded(out_channels) - out_channels
    return torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, more_in, 0, more_out))
