# SPDX-License-Identifier: Apache-2.0
"""A pseudo-image as its pillars alone, in a std_msgs multi-array: a thirtieth of the dense one.

The format is docs/tensor_message.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import wire
from tiny_bev_ros.messages.tensor_labels import (
    PILLAR_AXES,
    TensorLabels,
    parse_pillar_labels,
    write_labels,
)

if TYPE_CHECKING:
    import torch

# Row and column, in front of the features.
_PLACE = 2
# Whole numbers that a float represents one by one.
_MOST_CELLS = {'float32': 2**24, 'float16': 2**11}
_BYTES = 4  # of a value of the dense pseudo-image


@dataclass(frozen=True)
class PillarTensor:
    """A decoded message of pillars.

    Attributes:
        features: (P, C) float32 or float16, all finite; a view of the message's data.
        cells: (P, 2) int64 [row, col], each place once and on the canvas.
        canvas: (H, W), its size in cells.
        labels: stamp, frame and metric axes of the canvas, as far as the message says.
    """

    features: np.ndarray
    cells: np.ndarray
    canvas: tuple[int, int]
    labels: TensorLabels


def check_canvas(canvas: tuple[int, int], encoding: str) -> None:
    """Raises TinyBevError when an encoding cannot hold the rows and columns of (H, W)."""
    wire.check_encoding(encoding)
    if not 0 < min(canvas) <= max(canvas) <= _MOST_CELLS[encoding]:
        raise TinyBevError(
            f'canvas is {canvas[0]} x {canvas[1]} cells; expected 1 to {_MOST_CELLS[encoding]} '
            f'along each side, which {encoding} can count'
        )


def encode_pillars(
    features: torch.Tensor,
    cells: torch.Tensor,
    canvas: tuple[int, int],
    labels: TensorLabels,
    encoding: str = 'float32',
) -> Any:
    """Writes pillars and the labels of their map as a message.

    Args:
        features: (P, C) float32 or float16, on any device.
        cells: (P, 2) int64 [row, col] of each, on any device.
        canvas: (H, W) of the map.
        labels: stamp, frame and metric axes of the map.
        encoding: 'float32' (Float32MultiArray) or 'float16' (UInt8MultiArray).

    Returns:
        A message with dimensions (P, 2 + C, 1, 1): row, column and features of each pillar.

    Raises:
        TinyBevError: an argument is none of these, a cell is outside of the map, or a value is
            NaN, infinite or beyond the range of float16.
    """
    check_canvas(canvas, encoding)
    wire.check_dtype('features', features)
    if features.ndim != 2 or tuple(cells.shape) != (len(features), _PLACE):
        raise TinyBevError(
            f'features are {tuple(features.shape)} and cells {tuple(cells.shape)}; '
            'expected (P, C) and (P, 2)'
        )
    if str(cells.dtype).removeprefix('torch.') not in ('int32', 'int64'):
        raise TinyBevError(f'cells dtype is {cells.dtype}; expected int64')
    shape = (len(features), _PLACE + features.shape[1], 1, 1)
    message, values = wire.message_for(shape, write_labels(labels, canvas), encoding, None)
    table = values[:, :, 0, 0]
    wire.fill(table[:, :_PLACE], cells)
    row, col = table[:, 0], table[:, 1]
    if len(table) and (
        min(row.min(), col.min()) < 0 or row.max() >= canvas[0] or col.max() >= canvas[1]
    ):
        _places(table, canvas)  # says which
    wire.fill(table[:, _PLACE:], features)
    if not wire.all_finite(table):
        raise wire.not_finite('features', ('pillar', 'channel'), features, table[:, _PLACE:])
    return message


def decode_pillars(
    msg: Any, *, channels: int | None = None, max_bytes: int = 256 * 2**20
) -> PillarTensor:
    """Reads a message of pillars.

    Args:
        msg: Float32MultiArray or UInt8MultiArray, of rclpy or of rosbags.
        channels: the number of features wanted, or None for any.
        max_bytes: how large the data, and the float32 pseudo-image that it stands for, may be.

    Raises:
        TinyBevError: the layout contradicts itself, the data or the arguments, a value is NaN
            or infinite, a pillar is not on the canvas, or two are at one place.
    """
    texts = [dim.label for dim in msg.layout.dim]
    names, labels, canvas = parse_pillar_labels(
        texts, float16=wire.flat(msg.data).dtype == np.uint8
    )
    stored = wire.stored_values(msg, names, max_bytes)
    array = stored.transpose([names.index(name) for name in PILLAR_AXES])
    count = array.shape[1] - _PLACE
    if array.shape[2:] != (1, 1) or count < 1 or channels not in (None, count):
        wanted = f'(P, {_PLACE} + {channels or "C"}, 1, 1)'
        raise TinyBevError(f'pillar, channel, height, width are {array.shape}; expected {wanted}')
    size = canvas[0] * canvas[1] * count * _BYTES
    if size > max_bytes:
        raise TinyBevError(
            f'canvas is {canvas[0]} x {canvas[1]} cells of {count} channels, {size} bytes when '
            f'laid out; expected at most {max_bytes}'
        )
    if not wire.all_finite(stored):
        raise wire.not_finite('data', PILLAR_AXES, array)
    table = wire.aligned(array[:, :, 0, 0])
    return PillarTensor(table[:, _PLACE:], _places(table, canvas), canvas, labels)


def _places(table: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """(P, 2) int64 of rows and columns, once it is sure that they are that."""
    places = table[:, :_PLACE].astype(np.float64)
    wrong = ((places < 0) | (places >= canvas) | (places != np.floor(places))).any(1)
    if wrong.any():
        pillar = int(wrong.argmax())
        row, col = places[pillar]
        raise TinyBevError(
            f'data holds row {row:g}, column {col:g} at pillar {pillar}; expected whole numbers '
            f'from 0 to below {canvas[0]} and {canvas[1]}'
        )
    cells = places.astype(np.int64)
    flat = np.sort(cells[:, 0] * canvas[1] + cells[:, 1])
    twice = flat[1:] == flat[:-1]
    if twice.any():
        row, col = divmod(int(flat[twice.argmax()]), canvas[1])
        raise TinyBevError(
            f'data holds row {row}, column {col} more than once; expected one pillar per place'
        )
    return cells
