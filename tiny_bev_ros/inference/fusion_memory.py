# SPDX-License-Identifier: Apache-2.0
"""How much memory the fusion of a map with camera features takes, before it is tried."""

from __future__ import annotations

import torch

_FLOAT32 = 4
# What a SamplingPlan holds of an entry: six whole numbers of 8 bytes and four shares.
_ENTRY = 64


def projected_bytes(cells: int, looking: int, entries: int, channels: int) -> int:
    """At its peak, of the mode 'projected'.

    Args:
        cells: of the map.
        looking: those of them that see something.
        entries: places above cells that a camera sees, see `ProjectedAttention.sampling_plan`.
        channels: of the map.
    """
    # The fused map; of cells that look what they hold, and the inside of the MLP twice.
    values = cells * channels + 5 * looking * channels
    return _FLOAT32 * values + _ENTRY * entries


def global_bytes(cells: int, pixels: int, channels: int, heads: int, *, fused: bool) -> int:
    """At its peak, of the mode 'global'.

    Args:
        cells: of the map.
        pixels: of the features of all cameras.
        channels: of the map.
        heads: of the attention.
        fused: whether the attention is computed without its weights ever being stored: one for
            each head, cell and pixel, before and after the softmax.
    """
    # As in 'projected', as all cells look, and where each of them lies; pixels, keys and values.
    values = 7 * cells * channels + 3 * pixels * channels
    if not fused:
        values += 2 * heads * cells * pixels
    return _FLOAT32 * values


def attention_is_fused(device: torch.device, dtype: torch.dtype, head_channels: int) -> bool:
    """Whether scaled_dot_product_attention takes a kernel that stores no weights here."""
    choose = getattr(torch, '_fused_sdp_choice', None)
    if choose is None:
        return False
    some = torch.zeros(1, 1, 128, head_channels, device=device, dtype=dtype)
    return int(choose(some, some, some)) != 0
