# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pillars of a pseudo-image as a std_msgs multi-array, about 1/30 of the dense message.

docs/tensor_message.md defines the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import multi_array
from tiny_bev_ros.messages.finite_values import all_finite, non_finite_error
from tiny_bev_ros.messages.label_parser import parse_pillar_labels
from tiny_bev_ros.messages.message_fields import check_max_bytes
from tiny_bev_ros.messages.tensor_labels import PILLAR_AXES, TensorLabels, format_labels

if TYPE_CHECKING:
    import torch

# Columns of the cell [row, col], before the features.
_CELL = 2
# Largest number up to which a float represents all whole numbers.
_MAX_CELLS = {'float32': 2**24, 'float16': 2**11}
_ITEMSIZE = 4  # bytes per value of the dense pseudo-image


@dataclass(frozen=True)
class PillarTensor:
    """A decoded message of pillars.

    Attributes:
        features: (P, C) float32 or float16, all finite; a view of the data of the message.
        cells: (P, 2) int64 [row, col], each cell once and on the canvas.
        canvas: (H, W) of the pseudo-image, in cells.
        labels: stamp, frame and metric axes of the canvas, as far as the message states them.
    """

    features: np.ndarray
    cells: np.ndarray
    canvas: tuple[int, int]
    labels: TensorLabels


def check_canvas(canvas: tuple[int, int], encoding: str) -> None:
    """Raises TinyBevError when an encoding cannot represent the rows and columns of (H, W)."""
    multi_array.check_encoding(encoding)
    if not 0 < min(canvas) <= max(canvas) <= _MAX_CELLS[encoding]:
        raise TinyBevError(
            f'canvas is {canvas[0]} x {canvas[1]} cells; expected 1 to {_MAX_CELLS[encoding]} '
            f'along each side, which {encoding} can represent'
        )


def encode_pillars(
    features: torch.Tensor,
    cells: torch.Tensor,
    canvas: tuple[int, int],
    labels: TensorLabels,
    encoding: str = 'float32',
) -> Any:
    """Encodes pillars and the labels of their pseudo-image as a message.

    Args:
        features: (P, C) float32, float16 or bfloat16, on any device.
        cells: (P, 2) int64 [row, col] of each pillar, on any device.
        canvas: (H, W) of the pseudo-image.
        labels: stamp, frame and metric axes of the pseudo-image.
        encoding: 'float32' (Float32MultiArray) or 'float16' (UInt8MultiArray).

    Returns:
        A message with dimensions (P, 2 + C, 1, 1): row, column and features of each pillar.

    Raises:
        TinyBevError: an argument has another shape or dtype, a cell is outside of the canvas,
            or a value is NaN, infinite or beyond the range of float16.
    """
    check_canvas(canvas, encoding)
    multi_array.check_dtype('features', features)
    if features.ndim != 2 or tuple(cells.shape) != (len(features), _CELL):
        raise TinyBevError(
            f'features are {tuple(features.shape)} and cells {tuple(cells.shape)}; '
            'expected (P, C) and (P, 2)'
        )
    if str(cells.dtype).removeprefix('torch.') not in ('int32', 'int64'):
        raise TinyBevError(f'cells dtype is {cells.dtype}; expected int64')
    shape = (len(features), _CELL + features.shape[1], 1, 1)
    message, values = multi_array.allocate_message(
        shape, format_labels(labels, canvas), encoding, None
    )
    table = values[:, :, 0, 0]
    if features.is_cuda and cells.is_cuda:
        from tiny_bev_ros.models.device import copy_to_host  # a late import, as of PyTorch

        features, cells = copy_to_host(features, cells)
    multi_array.copy_into(table[:, :_CELL], cells)
    row, col = table[:, 0], table[:, 1]
    if len(table) and (
        min(row.min(), col.min()) < 0 or row.max() >= canvas[0] or col.max() >= canvas[1]
    ):
        _checked_cells(table, canvas)  # names the pillar
    multi_array.copy_into(table[:, _CELL:], features)
    if not all_finite(table):
        raise non_finite_error('features', ('pillar', 'channel'), features, table[:, _CELL:])
    return message


def decode_pillars(
    msg: Any, *, channels: int | None = None, max_bytes: int = 256 * 2**20
) -> PillarTensor:
    """Decodes a message of pillars.

    Args:
        msg: Float32MultiArray or UInt8MultiArray, of rclpy or of rosbags.
        channels: expected number of features, or None for any.
        max_bytes: largest size of the data, and of its dense float32 pseudo-image.

    Raises:
        TinyBevError: the layout contradicts itself, the data or the arguments, a value is NaN
            or infinite, a pillar is not on the canvas, or two have the same cell.
    """
    texts = [dim.label for dim in msg.layout.dim]
    float16 = multi_array.flat_data(msg.data).dtype == np.uint8
    names, labels, canvas = parse_pillar_labels(texts, float16=float16)
    stored = multi_array.strided_view(msg, names, max_bytes)
    array = stored.transpose([names.index(name) for name in PILLAR_AXES])
    count = array.shape[1] - _CELL
    if array.shape[2:] != (1, 1) or count < 1 or channels not in (None, count):
        expected = f'(P, {_CELL} + {channels or "C"}, 1, 1)'
        raise TinyBevError(
            f'pillar, channel, height, width are {array.shape}; expected {expected}'
        )
    dense = f'pseudo-image of {canvas[0]} x {canvas[1]} cells and {count} channels'
    check_max_bytes(dense, canvas[0] * canvas[1] * count * _ITEMSIZE, max_bytes)
    if not all_finite(stored):
        raise non_finite_error('data', PILLAR_AXES, array)
    table = multi_array.ensure_aligned(array[:, :, 0, 0])
    return PillarTensor(table[:, _CELL:], _checked_cells(table, canvas), canvas, labels)


def _checked_cells(table: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Returns (P, 2) int64 rows and columns; raises TinyBevError where they are invalid."""
    values = table[:, :_CELL].astype(np.float64)
    wrong = ((values < 0) | (values >= canvas) | (values != np.floor(values))).any(1)
    if wrong.any():
        pillar = int(wrong.argmax())
        row, col = values[pillar]
        raise TinyBevError(
            f'data holds row {row:g}, column {col:g} at pillar {pillar}; expected whole numbers '
            f'from 0 to below {canvas[0]} and {canvas[1]}'
        )
    cells = values.astype(np.int64)
    flat = np.sort(cells[:, 0] * canvas[1] + cells[:, 1])
    twice = flat[1:] == flat[:-1]
    if twice.any():
        row, col = divmod(int(flat[twice.argmax()]), canvas[1])
        raise TinyBevError(
            f'data holds row {row}, column {col} more than once; expected one pillar per cell'
        )
    return cells
