# SPDX-License-Identifier: Apache-2.0
"""Cameras: where a place in metres is seen, and where a pixel looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError

# Of the fixed point by which a distortion is undone; wide lenses need about twenty steps.
_STEPS = 50
# How far from the real numbers a root may come out that is one of them.
_REAL = 1e-9
# The largest number of a lens that is taken; those of real ones are below a hundred.
_STRONGEST = 1e6
# Numbers of a lens that are read: k1, k2, p1, p2, k3, k4, k5, k6.
_LENS = 8
# As OpenCV counts D; beyond the eighth are those of a thin prism and of a tilted sensor.
_COUNTS = (0, 4, 5, 8, 12, 14)
# Models of lenses that are no pinhole even where all their numbers are zero.
_FISHEYES = ('equidistant', 'fisheye', 'kannala_brandt', 'omnidirectional')
# Nearer than this in front of a camera nothing is seen, in metres.
_NEAREST = 0.1


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with the lens distortion that ROS calls plumb_bob or rational_polynomial.

    Brown, "Close-Range Camera Calibration", 1971; as in sensor_msgs/CameraInfo and OpenCV. Pixel
    (0, 0) is the middle of the upper left one.

    Attributes:
        intrinsics: (3,3) float64, the K of CameraInfo, in pixels.
        distortion: (8,) float64 k1, k2, p1, p2, k3, k4, k5, k6; zeros for a rectified image. The
            last three, of the denominator, are zeros of a plumb_bob lens.
        from_points: (4,4) float64, from the frame of points (REP-103: x forward, y left, z up)
            to the optical one (x right, y down, z ahead), in metres.
        size: width and height of the image, in pixels.
    """

    intrinsics: Tensor
    distortion: Tensor
    from_points: Tensor
    size: tuple[int, int]

    def key(self) -> tuple[object, ...]:
        """Equal for cameras that are equal."""
        numbers = (self.intrinsics, self.distortion, self.from_points)
        return (self.size, *(tuple(each.flatten().tolist()) for each in numbers))

    def scaled(self, size: tuple[int, int]) -> Camera:
        """Of the image resized to a width and height; edges fall on edges."""
        across, down = size[0] / self.size[0], size[1] / self.size[1]
        change = self.intrinsics.new_tensor(
            [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]]
        )
        return replace(self, intrinsics=change @ self.intrinsics, size=size)

    def strided(self, stride: int) -> Camera:
        """Of features of the image, one for each stride x stride pixels.

        To the right and below they may reach over its edge.
        """
        cols, rows = (-(-value // stride) for value in self.size)
        return self.cropped(0, 0, (cols * stride, rows * stride)).scaled((cols, rows))

    def cropped(self, left: int, top: int, size: tuple[int, int]) -> Camera:
        """Of a part of the image, so many pixels from its left and upper edge."""
        shift = self.intrinsics.new_tensor([[0, 0, left], [0, 0, top], [0, 0, 0]])
        return replace(self, intrinsics=self.intrinsics - shift, size=size)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where places are seen.

        Args:
            points: (...,3) metres in the frame of points, of any float dtype.

        Returns:
            (...,2) pixels, columns first, and (...,) depths in metres, along the optical axis.
            What is less than 0.1 m ahead has pixels of no meaning.
        """
        rays, depth = self._rays(points)
        return self._pixels(rays).to(points.dtype), depth.to(points.dtype)

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Where the places lie that are seen in pixels: the inverse of `project`.

        Args:
            pixels: (...,2), columns first.
            depth: (...,) metres along the optical axis.

        Returns:
            (...,3) metres in the frame of points.
        """
        seen = (pixels.double() - self.intrinsics[:2, 2]) @ self.intrinsics[:2, :2].inverse().T
        rays = seen
        for _ in range(_STEPS):
            rays = rays + seen - self._distorted(rays)
        deep = depth.double()[..., None]
        ahead = torch.cat([rays * deep, deep], dim=-1)
        back = self.from_points[:3, :3].inverse()
        return ((ahead - self.from_points[:3, 3]) @ back.T).to(pixels.dtype)

    def sees(self, points: Tensor) -> Tensor:
        """(...,3) places to (...,) bool: which of them fall into the image."""
        rays, depth = self._rays(points)
        pixels = self._pixels(rays)
        edge = pixels.new_tensor(self.size) - 0.5
        inside = ((pixels >= -0.5) & (pixels < edge)).all(dim=-1)
        return inside & (depth > _NEAREST) & self._unfolded(rays)

    def _rays(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(...,3) places to (...,2) float64 x and y at depth 1, and (...,) their depths."""
        ahead = points.double() @ self.from_points[:3, :3].T + self.from_points[:3, 3]
        return ahead[..., :2] / ahead[..., 2:].clamp(min=_NEAREST), ahead[..., 2]

    def _pixels(self, rays: Tensor) -> Tensor:
        return self._distorted(rays) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def _unfolded(self, rays: Tensor) -> Tensor:
        """(...,) bool: false from where on the polynomials of a strong lens have turned back."""
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion.tolist()
        above, below = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
        # The derivative of r above(r^2) / below(r^2) is turning(r^2) / below(r^2)^2.
        turning = above * below + Polynomial([0, 2]) * (
            above.deriv() * below - above * below.deriv()
        )
        # In 1 / r^2 what leads is 1, however small the rest is.
        turns = np.concatenate([np.roots(turning.coef), np.roots(below.coef)])
        ahead = turns.real[(abs(turns.imag) < _REAL) & (turns.real > 0)]
        return rays.square().sum(dim=-1) * ahead.max(initial=0) < 1

    def _distorted(self, rays: Tensor) -> Tensor:
        """(...,2) x and y at depth 1, as the lens bends them."""
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
    from_points: Sequence[Sequence[float]],
    size: tuple[int, int],
    distortion: Sequence[float] = (),
    model: str = 'plumb_bob',
) -> Camera:
    """A camera from the numbers of a calibration, checked.

    Args:
        intrinsics: K of CameraInfo, 9 numbers row by row.
        from_points: (4,4) rotation and translation in metres, see `Camera`.
        size: width and height in pixels.
        distortion: D of CameraInfo.
        model: distortion_model of CameraInfo, in any case; '' with numbers says the one of that
            many.

    Raises:
        TinyBevError: names what is not as expected.
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
    lens = _checked_lens([float(value) for value in distortion], model)
    mount = torch.tensor([list(row) for row in from_points], dtype=torch.float64)
    _check_rigid(mount)
    if min(size) <= 0:
        raise TinyBevError(f'width and height are {size}; expected both above 0')
    return Camera(matrix, torch.tensor(lens, dtype=torch.float64), mount, size)


def _checked_lens(given: list[float], model: str) -> list[float]:
    """The eight numbers of a lens; what changes nothing is not looked at.

    Raises:
        TinyBevError: the model is another one, contradicts the numbers, or they are absurd.
    """
    known = model.lower()
    if known in _FISHEYES:
        raise TinyBevError(
            f'distortion_model is {model!r}; expected plumb_bob or rational_polynomial'
        )
    if not all(abs(value) <= _STRONGEST for value in given):
        raise TinyBevError(
            f'd is {given}; expected finite numbers, at most {_STRONGEST:g} in size'
        )
    lens = (given + [0.0] * _LENS)[:_LENS]
    if not any(given):
        return lens
    if known not in ('', 'plumb_bob', 'rational_polynomial'):
        raise TinyBevError(
            f'distortion_model is {model!r}; expected plumb_bob or rational_polynomial, '
            'or d of zeros'
        )
    if len(given) not in _COUNTS:
        raise TinyBevError(f'd has {len(given)} numbers; expected 0, 4, 5, 8, 12 or 14')
    if not known and len(given) == 4:
        # Those of plumb_bob and of equidistant are as many.
        raise TinyBevError(
            "distortion_model is '' with 4 numbers in d; expected plumb_bob to be said of them"
        )
    if any(given[_LENS:]):
        raise TinyBevError(f'd is {given}; expected zeros after the eighth number')
    if known == 'plumb_bob' and any(given[5:]):
        raise TinyBevError(
            f'd is {given}; expected zeros after the fifth number, or rational_polynomial as '
            'distortion_model'
        )
    return lens


def _check_rigid(mount: Tensor) -> None:
    if mount.shape != (4, 4) or not mount.isfinite().all():
        raise TinyBevError(
            f'from_points is of shape {tuple(mount.shape)}; expected 4 x 4 finite numbers'
        )
    turn = mount[:3, :3]
    straight = torch.allclose(turn @ turn.T, torch.eye(3, dtype=mount.dtype), atol=1e-3)
    if not straight or turn.det() < 0 or mount[3].tolist() != [0, 0, 0, 1]:
        raise TinyBevError(
            f'from_points is {mount.tolist()}; expected a rotation, a translation, 0, 0, 0, 1'
        )
