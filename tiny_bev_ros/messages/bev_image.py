# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BEV features as an image for people."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.errors import TinyBevError

# Percentiles of the values that get the darkest and the brightest colour.
_PERCENTILES = (1, 99)
# A spread below this fraction of the values is rounding, not structure.
_FLAT = 1e-5
_NON_FINITE_COLOUR = (255, 0, 255)
# Colour map viridis of matplotlib: (256, 3) uint8, from the darkest to the brightest.
_VIRIDIS: np.ndarray = np.frombuffer(
    bytes.fromhex(
        """
        44015444025544035745055845065a45085b46095c460b5e460c5f460e61470f62471163471265471466471567
        47166947186a48196b481a6c481c6e481d6f481e70482071482172482273482374472575472676472777472878
        472a79472b7a472c7b462d7c462f7c46307d46317e45327f45347f453580453681443781443982433a83433b83
        433c84423d84423e854240854141864142864043874044873f45873f47883e48883e49893d4a893d4b893d4c89
        3c4d8a3c4e8a3b508a3b518a3a528b3a538b39548b39558b38568b38578c37588c37598c365a8c365b8c355c8c
        355d8c345e8d345f8d33608d33618d32628d32638d31648d31658d31668d30678d30688d2f698d2f6a8d2e6b8e
        2e6c8e2e6d8e2d6e8e2d6f8e2c708e2c718e2c728e2b738e2b748e2a758e2a768e2a778e29788e29798e287a8e
        287a8e287b8e277c8e277d8e277e8e267f8e26808e26818e25828e25838d24848d24858d24868d23878d23888d
        23898d22898d228a8d228b8d218c8d218d8c218e8c208f8c20908c20918c1f928c1f938b1f948b1f958b1f968b
        1e978a1e988a1e998a1e998a1e9a891e9b891e9c891e9d881e9e881e9f881ea0871fa1871fa2861fa38620a485
        20a58521a68521a78422a78423a88323a98224aa8225ab8126ac8127ad8028ae7f29af7f2ab07e2bb17d2cb17d
        2eb27c2fb37b30b47a32b57a33b67935b77836b87738b97639b9763bba753dbb743ebc7340bd7242be7144be70
        45bf6f47c06e49c16d4bc26c4dc26b4fc36951c46853c56755c66657c66559c7645bc8625ec96160c96062ca5f
        64cb5d67cc5c69cc5b6bcd596dce5870ce5672cf5574d05477d05279d1517cd24f7ed24e81d34c83d34b86d449
        88d5478bd5468dd64490d64392d74195d73f97d83e9ad83c9dd93a9fd938a2da37a5da35a7db33aadb32addc30
        afdc2eb2dd2cb5dd2bb7dd29bade27bdde26bfdf24c2df22c5df21c7e01fcae01ecde01dcfe11cd2e11bd4e11a
        d7e219dae218dce218dfe318e1e318e4e318e7e419e9e419ece41aeee51bf1e51cf3e51ef6e61ff8e621fae622
        fde724
        """
    ),
    np.uint8,
).reshape(256, 3)


def render_bev_image(features: np.ndarray, channel: int = -1) -> np.ndarray:
    """Renders BEV features as an image, in the colours of matplotlib's viridis.

    The strength of a cell is the root mean square over its channels: like the mean of
    the magnitudes it does not let signs cancel, but one channel with a strong response
    stays visible among many weak ones. Colours span the 1st to the 99th percentile
    of this one frame, so that neither a few very strong cells nor the constant level that
    biases give to empty ground take the contrast. Where a smaller fraction of the cells
    differs from the rest, they span the minimum to the maximum. Cells that are
    NaN or infinite are magenta, which viridis does not contain.

    Args:
        features: (C, H, W) float32 or float16, H along y and W along x.
        channel: channel to render, or -1 for the strength over all of them.

    Returns:
        (W, H, 3) uint8 rgb; the first row has the greatest x (ahead) and the first column
        the greatest y (left).

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
    colours = _VIRIDIS[_levels(values, finite)]
    colours[~finite] = _NON_FINITE_COLOUR
    return np.ascontiguousarray(colours.transpose(1, 0, 2)[::-1, ::-1])


def _strength(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), -1).astype(np.float32, copy=False)
    with np.errstate(over='ignore', invalid='ignore'):
        squares = np.einsum('cn,cn->n', flat, flat)
    return np.sqrt(squares / len(flat)).reshape(features.shape[1:])


def _levels(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Scales values to 0..255 (uint8); all 0 when they do not differ."""
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
