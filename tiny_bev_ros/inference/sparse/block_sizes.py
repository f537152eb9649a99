# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sizes of the blocks in which Triton's kernels compute, and of the rows that they divide."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Smallest depth of a product in Triton, and the block that is loaded at once from longer rows.
_MIN_CHANNELS, _BLOCK = 16, 64


@dataclass(frozen=True)
class BlockSizes:
    """Block of a program of `convolve_sites`, and its options of the compiler.

    Attributes:
        sites: number of sites.
        out: number of output channels.
        depth: number of input channels that are multiplied at once.
        stages: number of blocks of neighbours that are on their way at once.
    """

    sites: int
    out: int
    depth: int
    stages: int

    def constants(self) -> dict[str, int]:
        """Returns constants of the kernel by name."""
        return {'block_sites': self.sites, 'block_out': self.out, 'block_in': self.depth}

    def options(self) -> dict[str, int]:
        """Returns options of the compiler by name."""
        return {'num_warps': 4, 'num_stages': self.stages}


def padded_channels(channels: int) -> int:
    """Returns the length of a row: a power of two from 16 to 64, or a multiple of 64."""
    if channels > _BLOCK:
        return -(-channels // _BLOCK) * _BLOCK
    return max(_MIN_CHANNELS, 1 << (channels - 1).bit_length())


def block_sizes(padded_in: int, padded_out: int, dtype: torch.dtype) -> BlockSizes:
    """Returns the blocks of a layer.

    Three programs of 128 threads fit on a multiprocessor of an RTX 30: tests hold registers and
    shared memory below that. A block of 128 output channels would spill registers.

    Args:
        padded_in: number of input channels, padded.
        padded_out: number of output channels, padded.
        dtype: compute dtype.
    """
    depth = _BLOCK if dtype.itemsize == 2 else _BLOCK // 2
    return BlockSizes(
        sites=_BLOCK, out=min(padded_out, _BLOCK), depth=min(padded_in, depth), stages=4
    )
