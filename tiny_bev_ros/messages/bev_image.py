# SPDX-License-Identifier: Apache-2.0
"""A feature map as a picture for people."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.viridis import VIRIDIS

# Percentiles of a map that get the darkest and the brightest colour.
_PERCENTILES = (1, 99)
# A spread below this part of the values themselves is rounding, not structure.
_FLAT = 1e-5
_NOT_FINITE = (255, 0, 255)


def bev_image(features: np.ndarray, channel: int = -1) -> np.ndarray:
    """A feature map seen from above, in the colours of matplotlib's viridis.

    The strength of a cell is the root mean square over its channels: like the mean of
    the magnitudes it does not let signs cancel, but one channel that responds strongly
    stays visible among many that do not. Colours run from the 1st to the 99th percentile
    of this one map, so that neither a few very strong cells nor the constant level that
    biases give to empty ground take the contrast. Where less than that share of the map
    differs from the rest, they run from the least to the greatest value. Cells that are
    NaN or infinite are magenta, which viridis does not have.

    Args:
        features: (C, H, W) float32 or float16, H along y and W along x.
        channel: the channel to show, or -1 for the strength over all of them.

    Returns:
        (W, H, 3) uint8 rgb; the first row is the farthest ahead (greatest x) and the
        first column the farthest left (greatest y).

    Raises:
        TinyBevError: features has another shape or type or is empty, or there is no such
            channel.
    """
    if features.ndim != 3 or features.size == 0 or features.dtype not in (np.float32, np.float16):
        raise TinyBevError(
            f'features is {features.shape} {features.dtype}; '
            'expected a non-empty (C, H, W) of float32 or float16'
        )
    channels = len(features)
    if not -1 <= channel < channels:
        raise TinyBevError(
            f'channel is {channel}; expected 0 to {channels - 1}, or -1 for the strength over all'
        )
    values = _strength(features) if channel == -1 else features[channel].astype(np.float32)
    finite = np.isfinite(values)
    colours = VIRIDIS[_levels(values, finite)]
    colours[~finite] = _NOT_FINITE
    return np.ascontiguousarray(colours.transpose(1, 0, 2)[::-1, ::-1])


def _strength(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), -1).astype(np.float32, copy=False)
    with np.errstate(over='ignore', invalid='ignore'):
        squares = np.einsum('cn,cn->n', flat, flat)
    return np.sqrt(squares / len(flat)).reshape(features.shape[1:])


def _levels(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Values as 0..255 (uint8); 0 everywhere when they do not differ."""
    levels = np.zeros(values.shape, np.uint8)
    known = values[finite].astype(np.float64)
    if known.size == 0:
        return levels
    low, high = np.percentile(known, _PERCENTILES)
    if _is_flat(low, high):
        low, high = known.min(), known.max()
    if not _is_flat(low, high):
        levels[finite] = np.clip((known - low) / (high - low), 0, 1) * 255
    return levels


def _is_flat(low: float, high: float) -> bool:
    return high - low <= _FLAT * max(abs(low), abs(high))
