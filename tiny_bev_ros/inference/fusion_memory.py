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

_FLOAT32 = 4
# Bytes of an entry of the sampling plan: six integers of 8 bytes and four fractions of 4.
_ENTRY = 64


def projected_bytes(cells: int, visible_cells: int, entries: int, channels: int) -> int:
    """Returns the bytes at the peak of mode 'projected'.

    Args:
        cells: number of cells of the BEV features.
        visible_cells: number of cells that are visible to a camera.
        entries: number of positions above cells that are visible to a camera, see
            `ProjectedAttention.sampling_plan`.
        channels: number of channels of the BEV features.
    """
    # The fused features; for visible cells their features, and the hidden layer of the MLP twice.
    values = cells * channels + 5 * visible_cells * channels
    return _FLOAT32 * values + _ENTRY * entries


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
