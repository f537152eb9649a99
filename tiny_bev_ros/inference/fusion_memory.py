# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory that the fusion with camera features needs, computed before any is allocated."""

from __future__ import annotations

import torch

from tiny_bev_ros.models.fusion.projected_attention import CPU_CELLS

_FLOAT32 = 4
# Bytes of an entry of the sampling plan: six integers of 8 bytes and four fractions of 4.
_ENTRY = 64
# A block of cells takes at most this fraction of the free memory.
_BLOCK_FRACTION = 1 / 8


def projected_bytes(
    cells: int, visible_cells: int, entries: int, channels: int, block: int = 0
) -> int:
    """Returns the bytes at the peak of mode 'projected'.

    Args:
        cells: number of cells of the BEV features.
        visible_cells: number of cells that are visible to a camera.
        entries: number of positions above cells that are visible to a camera, see
            `ProjectedAttention.sampling_plan`.
        channels: number of channels of the BEV features.
        block: bytes of the cells that are processed at once, see `block_bytes`.
    """
    visible = _FLOAT32 * visible_cells * channels
    # The fused features and, for visible cells, the larger one of: their features and the hidden
    # layer of the MLP twice; their features, queries and attended values, and one block.
    peak = max(5 * visible, 3 * visible + block)
    return _FLOAT32 * cells * channels + peak + _ENTRY * entries


def block_bytes(cells: int, entries: int, channels: int, camera_channels: int, heads: int) -> int:
    """Returns the bytes of cells that projected attention processes at once.

    Args:
        cells: number of these cells.
        entries: number of entries of the sampling plan for these cells.
        channels: number of channels of the BEV features.
        camera_channels: number of channels of the camera features.
        heads: number of attention heads.
    """
    # A cell takes queries, split queries and values; for each head a query and a sum of samples.
    # An entry takes its sample twice, for the compute dtype, and three steps of its weights.
    per_cell = 3 * channels + 2 * heads * camera_channels
    per_entry = 2 * camera_channels + 3 * heads
    return _FLOAT32 * (cells * per_cell + entries * per_entry)


def cells_at_once(free: int, bytes_per_cell: int) -> int:
    """Returns the number of cells of a block on a CUDA device, where few launches matter.

    Args:
        free: bytes of memory that are free.
        bytes_per_cell: bytes of one cell of a block, see `block_bytes`.
    """
    return max(CPU_CELLS, int(free * _BLOCK_FRACTION) // bytes_per_cell)


def global_bytes(cells: int, pixels: int, channels: int, heads: int, *, fused: bool) -> int:
    """Returns the bytes at the peak of mode 'global'.

    Args:
        cells: number of cells of the BEV features.
        pixels: number of pixels of the features of all cameras.
        channels: number of channels of the BEV features.
        heads: number of attention heads.
        fused: True where the attention weights, one for each head, cell and pixel, before and
            after the softmax, are never stored.
    """
    # As in 'projected' with all cells visible, and position encodings; pixels, keys and values.
    values = 7 * cells * channels + 3 * pixels * channels
    if not fused:
        values += 2 * heads * cells * pixels
    return _FLOAT32 * values


def attention_is_fused(device: torch.device, dtype: torch.dtype, head_channels: int) -> bool:
    """Returns True if scaled_dot_product_attention stores no attention weights here."""
    choose = getattr(torch, '_fused_sdp_choice', None)
    if choose is None:
        return False
    probe = torch.zeros(1, 1, 128, head_channels, device=device, dtype=dtype)
    return int(choose(probe, probe, probe)) != 0
