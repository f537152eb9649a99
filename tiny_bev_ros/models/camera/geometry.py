# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera geometry: positions in metres to pixels, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError

# Steps of the fixed-point iteration that undoes a distortion; wide lenses need about twenty.
_UNDISTORT_STEPS = 50
# Largest imaginary part of a computed root that counts as real.
_MAX_IMAGINARY = 1e-9
# Largest distortion coefficient that is accepted; those of real lenses are below a hundred.
_MAX_COEFFICIENT = 1e6
# Number of coefficients that are used: k1, k2, p1, p2, k3, k4, k5, k6.
_NUM_COEFFICIENTS = 8
# Lengths of D in OpenCV; coefficients 9 to 14 describe a thin prism and a tilted sensor.
_COUNTS = (0, 4, 5, 8, 12, 14)
# Distortion models that are no pinhole even with all coefficients zero.
_FISHEYES = ('equidistant', 'fisheye', 'kannala_brandt', 'omnidirectional')
# Smallest depth of a visible point, in metres.
_MIN_DEPTH = 0.1


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with lens distortion, of ROS's models plumb_bob and rational_polynomial.

    Brown, "Close-Range Camera Calibration", 1971; as in sensor_msgs/CameraInfo and OpenCV. Pixel
    coordinates (0, 0) are the centre of the upper left pixel.

    Attributes:
        intrinsics: (3,3) float64 matrix K of CameraInfo, in pixels.
        distortion: (8,) float64 k1, k2, p1, p2, k3, k4, k5, k6; zeros for a rectified image. The
            last three, of the denominator, are zeros for plumb_bob.
        extrinsics: (4,4) float64 transform from the frame of points (REP-103: x forward, y left,
            z up) to the optical frame (x right, y down, z ahead), in metres.
        size: width and height of the image, in pixels.
    """

    intrinsics: Tensor
    distortion: Tensor
    extrinsics: Tensor
    size: tuple[int, int]

    def key(self) -> tuple[object, ...]:
        """Hashable value that is equal for equal cameras."""
        numbers = (self.intrinsics, self.distortion, self.extrinsics)
        return (self.size, *(tuple(each.flatten().tolist()) for each in numbers))

    def scaled(self, size: tuple[int, int]) -> Camera:
        """Camera of the image resized to a width and height, edges on edges."""
        across, down = size[0] / self.size[0], size[1] / self.size[1]
        change = self.intrinsics.new_tensor(
            [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]]
        )
        return replace(self, intrinsics=change @ self.intrinsics, size=size)

    def strided(self, stride: int) -> Camera:
        """Camera of the image's features, one for each stride x stride pixels.

        Features may reach over the right and lower edge of the image.
        """
        cols, rows = (-(-value // stride) for value in self.size)
        return self.cropped(0, 0, (cols * stride, rows * stride)).scaled((cols, rows))

    def cropped(self, left: int, top: int, size: tuple[int, int]) -> Camera:
        """Camera of a crop of the image, from so many pixels off its left and upper edge."""
        shift = self.intrinsics.new_tensor([[0, 0, left], [0, 0, top], [0, 0, 0]])
        return replace(self, intrinsics=self.intrinsics - shift, size=size)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Projects points onto the image.

        Args:
            points: (...,3) positions in metres in the frame of points, of any float dtype.

        Returns:
            (...,2) pixels, columns first, and (...,) depths in metres along the optical axis.
            Pixels of points at depths below 0.1 m have no meaning.
        """
        rays, depth = self._rays(points)
        return self._pixels(rays).to(points.dtype), depth.to(points.dtype)

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Computes the points at given depths behind pixels: the inverse of `project`.

        Args:
            pixels: (...,2) pixels, columns first.
            depth: (...,) depths in metres along the optical axis.

        Returns:
            (...,3) positions in metres in the frame of points.
        """
        distorted = (pixels.double() - self.intrinsics[:2, 2]) @ self.intrinsics[
            :2, :2
        ].inverse().T
        rays = distorted
        for _ in range(_UNDISTORT_STEPS):
            rays = rays + distorted - self._distort(rays)
        z = depth.double()[..., None]
        optical = torch.cat([rays * z, z], dim=-1)
        rotation = self.extrinsics[:3, :3].inverse()
        return ((optical - self.extrinsics[:3, 3]) @ rotation.T).to(pixels.dtype)

    def visible(self, points: Tensor) -> Tensor:
        """(...,3) positions to (...,) bool, true for those that project into the image."""
        rays, depth = self._rays(points)
        pixels = self._pixels(rays)
        edge = pixels.new_tensor(self.size) - 0.5
        inside = ((pixels >= -0.5) & (pixels < edge)).all(dim=-1)
        return inside & (depth > _MIN_DEPTH) & self._is_injective(rays)

    def _rays(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(...,3) positions to (...,2) float64 x and y at depth 1, and (...,) depths."""
        optical = points.double() @ self.extrinsics[:3, :3].T + self.extrinsics[:3, 3]
        return optical[..., :2] / optical[..., 2:].clamp(min=_MIN_DEPTH), optical[..., 2]

    def _pixels(self, rays: Tensor) -> Tensor:
        return self._distort(rays) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def _is_injective(self, rays: Tensor) -> Tensor:
        """(...,) bool, false from the radius on at which a strong distortion folds back."""
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion.tolist()
        numerator, denominator = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
        # The derivative of r n(r^2) / d(r^2) is slope(r^2) / d(r^2)^2.
        slope = numerator * denominator + Polynomial([0, 2]) * (
            numerator.deriv() * denominator - numerator * denominator.deriv()
        )
        # Roots in 1 / r^2, where the leading coefficient is 1, however small the others are.
        roots = np.concatenate([np.roots(slope.coef), np.roots(denominator.coef)])
        positive = roots.real[(abs(roots.imag) < _MAX_IMAGINARY) & (roots.real > 0)]
        return rays.square().sum(dim=-1) * positive.max(initial=0) < 1

    def _distort(self, rays: Tensor) -> Tensor:
        """(...,2) x and y at depth 1, distorted by the lens."""
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion.tolist()
        x, y = rays.unbind(dim=-1)
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * k3))
        if k4 or k5 or k6:
            radial = radial / (1 + square * (k4 + square * (k5 + square * k6)))
        return torch.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            ],
            dim=-1,
        )


def make_camera(
    intrinsics: Sequence[float],
    extrinsics: Sequence[Sequence[float]],
    size: tuple[int, int],
    distortion: Sequence[float] = (),
    model: str = 'plumb_bob',
) -> Camera:
    """Builds a camera from the numbers of a calibration, checked.

    Args:
        intrinsics: K of CameraInfo, 9 numbers row by row.
        extrinsics: (4,4) rotation and translation in metres, see `Camera`.
        size: width and height in pixels.
        distortion: D of CameraInfo.
        model: distortion_model of CameraInfo, in any case; '' for the model with that many
            coefficients.

    Raises:
        TinyBevError: a value is not as expected; the message names it.
    """
    matrix = torch.tensor(list(intrinsics), dtype=torch.float64)
    if matrix.shape != (9,) or not matrix.isfinite().all():
        raise TinyBevError(f'k is {list(intrinsics)}; expected 9 finite numbers')
    matrix = matrix.view(3, 3)
    if not matrix.any():
        raise TinyBevError(
            'k is all zeros, as of a camera that is not calibrated; expected focal lengths above 0'
        )
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0) or matrix[2].tolist() != [0, 0, 1]:
        raise TinyBevError(
            f'k is {list(intrinsics)}; expected focal lengths above 0 and a last row 0, 0, 1'
        )
    coefficients = _checked_coefficients([float(value) for value in distortion], model)
    transform = torch.tensor([list(row) for row in extrinsics], dtype=torch.float64)
    _check_rigid(transform)
    if min(size) <= 0:
        raise TinyBevError(f'width and height are {size}; expected both above 0')
    return Camera(matrix, torch.tensor(coefficients, dtype=torch.float64), transform, size)


def _checked_coefficients(given: list[float], model: str) -> list[float]:
    """The eight distortion coefficients; further ones must be zeros.

    Raises:
        TinyBevError: the model is another one, contradicts the coefficients, or one is too large.
    """
    known = model.lower()
    if known in _FISHEYES:
        raise TinyBevError(
            f'distortion_model is {model!r}; expected plumb_bob or rational_polynomial'
        )
    if not all(abs(value) <= _MAX_COEFFICIENT for value in given):
        raise TinyBevError(
            f'd is {given}; expected finite numbers, at most {_MAX_COEFFICIENT:g} in size'
        )
    used = (given + [0.0] * _NUM_COEFFICIENTS)[:_NUM_COEFFICIENTS]
    if not any(given):
        return used
    if known not in ('', 'plumb_bob', 'rational_polynomial'):
        raise TinyBevError(
            f'distortion_model is {model!r}; expected plumb_bob or rational_polynomial, '
            'or d of zeros'
        )
    if len(given) not in _COUNTS:
        raise TinyBevError(f'd has {len(given)} numbers; expected 0, 4, 5, 8, 12 or 14')
    if not known and len(given) == 4:
        # Both plumb_bob and equidistant have four coefficients.
        raise TinyBevError(
            "distortion_model is '' with 4 numbers in d; expected plumb_bob, by its name"
        )
    if any(given[_NUM_COEFFICIENTS:]):
        raise TinyBevError(f'd is {given}; expected zeros after the eighth number')
    if known == 'plumb_bob' and any(given[5:]):
        raise TinyBevError(
            f'd is {given}; expected zeros after the fifth number, or rational_polynomial as '
            'distortion_model'
        )
    return used


def _check_rigid(transform: Tensor) -> None:
    if transform.shape != (4, 4) or not transform.isfinite().all():
        raise TinyBevError(
            f'extrinsics are of shape {tuple(transform.shape)}; expected 4 x 4 finite numbers'
        )
    rotation = transform[:3, :3]
    identity = torch.eye(3, dtype=transform.dtype)
    orthogonal = torch.allclose(rotation @ rotation.T, identity, atol=1e-3)
    if not orthogonal or rotation.det() < 0 or transform[3].tolist() != [0, 0, 0, 1]:
        raise TinyBevError(
            f'extrinsics are {transform.tolist()}; expected a rotation, a translation, 0, 0, 0, 1'
        )
