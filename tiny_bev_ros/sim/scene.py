# SPDX-License-Identifier: Apache-2.0
"""Solids that a ray can hit, and a scene made of them.

World frame: x and y on the ground, z up, metres, seconds. A new kind of solid derives
from :class:`Solid` and says where a ray enters it; the sensor needs nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

# Stands for a direction component of 0, where a division by it must stay finite.
_TINY = np.float32(1e-9)


@dataclass(frozen=True)
class Surface:
    """What a solid is made of, as far as a LiDAR is concerned.

    Attributes:
        reflectivity: part of the light that comes back, 0 to 1.
        dropout: probability that a hit gives no return at all, as with glass.
    """

    reflectivity: float
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Solid(ABC):
    """Something with a surface, perhaps moving.

    Attributes:
        surface: what it is made of.
        velocity: (vx, vy) in m/s; it moves in a straight line.
    """

    surface: Surface
    velocity: tuple[float, float] = (0.0, 0.0)

    @abstractmethod
    def intersect(
        self, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where rays first meet the solid from outside.

        Args:
            origin: (3,) float32, where all rays start.
            directions: (..., 3) float32 unit vectors.

        Returns:
            Distances (...) in metres, inf where a ray misses, and the cosine (...) of the
            angle between ray and surface normal, 0 to 1, meaningful where it hits.
        """

    @abstractmethod
    def moved(self, dx: float, dy: float) -> Solid:
        """The same solid elsewhere."""

    @property
    def bounds(self) -> tuple[np.ndarray, float, float] | None:
        """Outline (K, 2) of its shadow on the ground, lowest and highest z; None: endless."""
        return None


@dataclass(frozen=True, kw_only=True)
class Ground(Solid):
    """The plane z = 0."""

    def intersect(
        self, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Solid.intersect`."""
        down = -directions[..., 2]
        hits = down > _TINY
        return np.where(hits, origin[2] / np.where(hits, down, 1), np.inf), down

    def moved(self, dx: float, dy: float) -> Ground:
        """See :meth:`Solid.moved`."""
        return self


@dataclass(frozen=True, kw_only=True)
class Box(Solid):
    """A box that stands upright.

    Attributes:
        centre: (x, y, z) of its middle.
        size: length along its heading, width, height.
        yaw: heading in radians, counter-clockwise from x.
    """

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0

    def intersect(
        self, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Solid.intersect`; slab method (Kay and Kajiya, 1986)."""
        cos, sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        dx, dy, dz = origin - np.asarray(self.centre, np.float32)
        start = (cos * dx + sin * dy, cos * dy - sin * dx, dz)
        x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
        ray = (cos * x + sin * y, cos * y - sin * x, z)
        enter = np.full(x.shape, -np.inf, np.float32)
        leave = np.full(x.shape, np.inf, np.float32)
        cosine = np.zeros(x.shape, np.float32)
        for begin, step, length in zip(start, ray, self.size, strict=True):
            step = np.where(np.abs(step) < _TINY, _TINY, step)  # noqa: PLW2901
            middle, reach = -begin / step, np.abs(np.float32(length / 2) / step)
            cosine = np.where(middle - reach > enter, np.abs(step), cosine)
            enter = np.maximum(enter, middle - reach)
            leave = np.minimum(leave, middle + reach)
        return np.where((enter <= leave) & (enter > 0), enter, np.inf), cosine

    def moved(self, dx: float, dy: float) -> Box:
        """See :meth:`Solid.moved`."""
        x, y, z = self.centre
        return replace(self, centre=(x + dx, y + dy, z))

    @property
    def bounds(self) -> tuple[np.ndarray, float, float]:
        """See :attr:`Solid.bounds`."""
        length, width, height = (side / 2 for side in self.size)
        along = np.array([np.cos(self.yaw), np.sin(self.yaw)]) * length
        across = np.array([-np.sin(self.yaw), np.cos(self.yaw)]) * width
        corners = np.array([along + across, along - across, -along - across, -along + across])
        *place, z = self.centre
        return corners + np.array(place), z - height, z + height


@dataclass(frozen=True, kw_only=True)
class Cylinder(Solid):
    """An upright tube without caps: a pole, a trunk, a person.

    Attributes:
        centre: (x, y) of its axis.
        radius: in metres.
        z_range: lower and upper end.
    """

    centre: tuple[float, float]
    radius: float
    z_range: tuple[float, float]

    def intersect(
        self, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Solid.intersect`."""
        x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
        dx, dy = (np.float32(c) - o for c, o in zip(self.centre, origin, strict=False))
        flat = np.maximum(x * x + y * y, _TINY)
        nearest = (x * dx + y * dy) / flat
        offset = (x * dy - y * dx) ** 2 / flat
        inside = np.float32(self.radius) ** 2 - offset
        distance = nearest - np.sqrt(np.maximum(inside, 0) / flat)
        height = origin[2] + distance * z
        low, high = self.z_range
        hits = (inside > 0) & (distance > 0) & (height >= low) & (height <= high)
        cosine = np.sqrt(np.maximum(inside, 0) * flat) / np.float32(self.radius)
        return np.where(hits, distance, np.inf), cosine

    def moved(self, dx: float, dy: float) -> Cylinder:
        """See :meth:`Solid.moved`."""
        return replace(self, centre=(self.centre[0] + dx, self.centre[1] + dy))

    @property
    def bounds(self) -> tuple[np.ndarray, float, float]:
        """See :attr:`Solid.bounds`."""
        return _square(np.asarray(self.centre), self.radius), *self.z_range


@dataclass(frozen=True, kw_only=True)
class Spheres(Solid):
    """A loose cluster of balls that light passes between: a bush, the crown of a tree.

    Attributes:
        centres: (x, y, z) of each ball.
        radius: of every ball, in metres.
    """

    centres: tuple[tuple[float, float, float], ...]
    radius: float

    def intersect(
        self, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Solid.intersect`."""
        to_centre = np.asarray(self.centres, np.float32) - origin
        nearest = directions @ to_centre.T
        square = np.float32(self.radius) ** 2
        inside = square - ((to_centre**2).sum(axis=1) - nearest**2)
        depth = np.sqrt(np.maximum(inside, 0))
        hits = (inside > 0) & (nearest > depth)
        distances = np.where(hits, nearest - depth, np.inf)
        first = distances.argmin(axis=-1)[..., None]
        cosine = np.take_along_axis(depth, first, axis=-1) / np.float32(self.radius)
        return np.take_along_axis(distances, first, axis=-1)[..., 0], cosine[..., 0]

    def moved(self, dx: float, dy: float) -> Spheres:
        """See :meth:`Solid.moved`."""
        return replace(self, centres=tuple((x + dx, y + dy, z) for x, y, z in self.centres))

    @property
    def bounds(self) -> tuple[np.ndarray, float, float]:
        """See :attr:`Solid.bounds`."""
        centres = np.asarray(self.centres)
        low, high = centres.min(axis=0) - self.radius, centres.max(axis=0) + self.radius
        corners = np.array(
            [[low[0], low[1]], [low[0], high[1]], [high[0], high[1]], [high[0], low[1]]]
        )
        return corners, float(low[2]), float(high[2])


def _square(centre: np.ndarray, half: float) -> np.ndarray:
    return centre + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])


@dataclass(frozen=True)
class Scene:
    """Everything that is around at one time.

    Attributes:
        solids: in any order.
    """

    solids: tuple[Solid, ...]

    def at(self, seconds: float) -> Scene:
        """The scene that much later, everything having moved at its velocity."""
        return Scene(
            tuple(
                solid.moved(*(speed * seconds for speed in solid.velocity))
                if any(solid.velocity)
                else solid
                for solid in self.solids
            )
        )
