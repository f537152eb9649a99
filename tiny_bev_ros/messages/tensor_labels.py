# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labels of tensors (stamp, frame, axes, calibration), and their text in dimension labels.

docs/tensor_message.md defines the grammar; label_parser.py reads it.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.message_fields import Stamp, make_header

if TYPE_CHECKING:
    from std_msgs.msg import Header

# Dimensions in the order of the axes of a tensor.
AXES = ('batch', 'channel', 'height', 'width')
PILLAR_AXES = ('pillar', *AXES[1:])
DETECTION_AXES = ('object', 'channel')
BYTE_LABEL = 'byte;dtype=float16'
MAX_SEC = 2**31 - 1  # builtin_interfaces/Time has an int32
# Allowed counts of numbers: D is that of plumb_bob or of rational_polynomial.
CALIBRATION_SIZES = {'k': (9,), 'd': (5, 8)}
_NO_DISTORTION = (0.0,) * 5
# Characters of a frame_id that need no percent-encoding.
_PLAIN = ''.join(sorted(set(string.punctuation) - set(';=%')))
# Relative difference of steps up to which cells count as square.
_SQUARE = 1e-6

# Labels of other nodes may be long; a log message is one line.
SHORT = reprlib.Repr()
SHORT.maxstring = 100


@dataclass(frozen=True)
class CameraCalibration:
    """K and D of sensor_msgs/CameraInfo, for an image of one pixel per cell of a tensor.

    Attributes:
        k: 9 numbers, the intrinsic matrix in row-major order, in pixels.
        d: 5 numbers k1, k2, p1, p2, k3 of plumb_bob, or 8 with k4, k5, k6 of
            rational_polynomial, which are removed where they are zeros; zeros for no distortion.

    Raises:
        TinyBevError: another count of numbers, or one that is not finite.
    """

    k: tuple[float, ...]
    d: tuple[float, ...] = _NO_DISTORTION

    def __post_init__(self) -> None:
        for name, sizes in CALIBRATION_SIZES.items():
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in sizes or not all(math.isfinite(value) for value in values):
                expected = ' or '.join(map(str, sizes))
                raise TinyBevError(f'{name} is {list(values)}; expected {expected} finite numbers')
            object.__setattr__(self, name, values)
        if not any(self.d[5:]):
            object.__setattr__(self, 'd', self.d[:5])

    def pairs(self) -> dict[str, str]:
        """Returns texts by key, without d where there is no distortion."""
        pairs = {'k': _join(self.k)}
        return pairs | ({'d': _join(self.d)} if any(self.d) else {})


@dataclass(frozen=True)
class TensorLabels:
    """Metadata that travels with a tensor; None where a message does not state it.

    Attributes:
        stamp: (sec, nanosec) of the measurement.
        frame_id: coordinate frame of the axes.
        y_axis: metric axis of the rows.
        x_axis: metric axis of the columns.
        calibration: calibration of the camera, for features in its image, whose rows and columns
            have no metric axes.

    Raises:
        TinyBevError: the stamp is outside of builtin_interfaces/Time or negative, or the
            frame cannot be encoded as UTF-8.
    """

    stamp: Stamp | None = None
    frame_id: str | None = None
    y_axis: Axis | None = None
    x_axis: Axis | None = None
    calibration: CameraCalibration | None = None

    def __post_init__(self) -> None:
        if self.stamp is not None:
            sec, nanosec = self.stamp
            if not (0 <= sec <= MAX_SEC and 0 <= nanosec < 10**9):
                raise TinyBevError(
                    f'stamp is ({sec}, {nanosec}); expected sec in 0..{MAX_SEC} '
                    'and nanosec in 0..999999999'
                )
        if self.frame_id is not None:
            try:
                self.frame_id.encode()
            except UnicodeEncodeError:
                raise TinyBevError(
                    f'frame_id is {SHORT.repr(self.frame_id)}; expected text that UTF-8 can encode'
                ) from None

    def strided(self, stride: int) -> TensorLabels:
        """Returns the labels of BEV features that a network made ``stride`` times coarser."""
        return dataclasses.replace(
            self,
            y_axis=self.y_axis and self.y_axis.strided(stride),
            x_axis=self.x_axis and self.x_axis.strided(stride),
            calibration=None,  # BEV features have none
        )

    def to_header(self) -> Header:
        """Returns a header; a missing stamp becomes 0, a missing frame ''."""
        return make_header(self.stamp or (0, 0), self.frame_id or '')

    def square_axes(self) -> tuple[Axis, Axis]:
        """Returns x_axis and y_axis of square cells.

        Raises:
            TinyBevError: an axis is missing, or cells are not square.
        """
        x_axis, y_axis = self.x_axis, self.y_axis
        if (
            x_axis is None
            or y_axis is None
            or abs(x_axis.step - y_axis.step) > _SQUARE * x_axis.step
        ):
            raise TinyBevError(
                f'axes are {x_axis} and {y_axis}; expected both, with cells that are square'
            )
        return x_axis, y_axis


def grid_from_labels(labels: TensorLabels, shape: tuple[int, int]) -> BevGrid:
    """Returns the grid of BEV features, with an arbitrary z_range.

    Args:
        labels: labels of the features.
        shape: (H,W) of the features.

    Raises:
        TinyBevError: the labels have no axes, or cells are not square.
    """
    x_axis, y_axis = labels.square_axes()
    rows, cols = shape
    return BevGrid(
        (x_axis.origin, x_axis.origin + cols * x_axis.step),
        (y_axis.origin, y_axis.origin + rows * y_axis.step),
        (-1.0, 1.0),
        x_axis.step,
    )


def format_labels(labels: TensorLabels, canvas: tuple[int, int] | None = None) -> list[str]:
    """Returns the texts of the labels of the four dimensions of a tensor.

    Args:
        labels: labels to write.
        canvas: (H,W) of the pseudo-image of pillars, whose first dimension is then pillar;
            None for a dense tensor, which begins with batch.
    """
    names = AXES if canvas is None else PILLAR_AXES
    pairs: dict[str, dict[str, str]] = {name: {} for name in names}
    if labels.stamp is not None:
        sec, nanosec = labels.stamp
        pairs[names[0]]['stamp'] = f'{sec}.{nanosec:09d}'
    if labels.frame_id is not None:
        pairs[names[0]]['frame_id'] = quote(labels.frame_id, safe=_PLAIN)
    if labels.calibration is not None and canvas is None:
        pairs['batch'] |= labels.calibration.pairs()
    if canvas is not None:
        pairs['height']['cells'], pairs['width']['cells'] = map(str, canvas)
    for name, axis in (('height', labels.y_axis), ('width', labels.x_axis)):
        if axis is not None:
            # repr is the shortest text that reads back as the same float.
            pairs[name] |= {'origin': repr(axis.origin), 'step': repr(axis.step)}
    return [
        ';'.join([name, *(f'{key}={value}' for key, value in pairs[name].items())])
        for name in names
    ]


def format_detection_labels(labels: TensorLabels, classes: Sequence[str]) -> list[str]:
    """Returns the texts of the labels of a list of detections.

    Args:
        labels: labels, of which stamp and frame are written.
        classes: names of the classes, by number.
    """
    first, *_ = format_labels(labels)
    names = ','.join(quote(name, safe='') for name in classes)
    return [f'object{first.removeprefix("batch")};classes={names}', 'channel']


def _join(values: Sequence[float]) -> str:
    # repr is the shortest text that reads back as the same float.
    return ','.join(repr(value) for value in values)
