# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Kinds of vehicles with their sizes, and how often each is met in a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tiny_bev_ros.sim.world import cars, large_vehicles
from tiny_bev_ros.sim.world.parts import Size

REGIONS = ('Europe', 'North America', 'Japan')


@dataclass(frozen=True)
class Kind:
    """Kind of vehicle: its builder, and the ranges of its sizes in metres.

    Attributes:
        build: function that adds the parts of a vehicle of a given size.
        length, width, height: ranges; long ones are mostly wide.
    """

    build: Callable[..., Size]
    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]

    def draw_size(self, random: np.random.Generator) -> Size:
        """Draws length, width and height in metres."""
        along = random.random()
        across = min(max(along + random.normal(0, 0.35), 0.0), 1.0)
        return (
            self.length[0] + along * (self.length[1] - self.length[0]),
            self.width[0] + across * (self.width[1] - self.width[0]),
            random.uniform(*self.height),
        )


def _car(
    shape: cars.CarShape,
    length: tuple[float, float],
    width: tuple[float, float],
    height: tuple[float, float],
) -> Kind:
    return Kind(partial(cars.car, shape=shape), length, width, height)


MICROCAR = _car(cars.HATCHBACK, (2.6, 3.0), (1.5, 1.65), (1.45, 1.58))
HATCHBACK = _car(cars.HATCHBACK, (3.3, 4.3), (1.54, 1.74), (1.38, 1.56))
SALOON = _car(cars.SALOON, (4.15, 4.8), (1.6, 1.76), (1.36, 1.5))
ESTATE = _car(cars.HATCHBACK, (4.1, 4.8), (1.6, 1.78), (1.4, 1.56))
OFF_ROADER = _car(cars.OFF_ROADER, (3.9, 4.8), (1.64, 1.9), (1.58, 1.8))
MINIVAN = _car(cars.ONE_BOX, (4.2, 4.9), (1.66, 1.86), (1.6, 1.9))
LARGE_SALOON = _car(cars.SALOON, (4.5, 5.4), (1.76, 1.94), (1.4, 1.52))
LARGE_OFF_ROADER = _car(cars.OFF_ROADER, (4.4, 5.4), (1.8, 2.04), (1.64, 1.95))
LARGE_MINIVAN = _car(cars.ONE_BOX, (4.9, 5.3), (1.9, 2.02), (1.7, 1.85))
KEI = _car(cars.ONE_BOX, (3.2, 3.45), (1.42, 1.52), (1.5, 1.85))
KEI_VAN = _car(cars.KEI_VAN, (3.3, 3.45), (1.42, 1.5), (1.8, 1.95))
PICKUP = Kind(cars.pickup, (5.1, 6.1), (1.8, 2.05), (1.72, 1.98))
VAN = Kind(large_vehicles.van, (4.3, 5.9), (1.75, 2.05), (1.8, 2.6))
TRUCK = Kind(large_vehicles.truck, (6.0, 11.0), (2.2, 2.55), (2.7, 3.8))
BUS = Kind(large_vehicles.bus, (9.5, 12.2), (2.5, 2.58), (2.95, 3.3))
TRAILER = Kind(large_vehicles.trailer, (2.4, 4.2), (1.4, 2.0), (0.9, 2.2))

_CARS = {
    'Europe': (
        (HATCHBACK, SALOON, ESTATE, OFF_ROADER, MINIVAN, MICROCAR, PICKUP),
        (0.43, 0.16, 0.15, 0.17, 0.05, 0.03, 0.01),
    ),
    'North America': (
        (LARGE_SALOON, LARGE_OFF_ROADER, PICKUP, HATCHBACK, SALOON, LARGE_MINIVAN),
        (0.26, 0.34, 0.18, 0.08, 0.08, 0.06),
    ),
    'Japan': (
        (KEI, KEI_VAN, HATCHBACK, SALOON, MINIVAN, OFF_ROADER),
        (0.28, 0.08, 0.24, 0.16, 0.14, 0.1),
    ),
}
_VANS = 0.12


def draw_kind(random: np.random.Generator, region: str, large: float) -> Kind:
    """Draws a kind of vehicle.

    Args:
        random: generator of the draw.
        region: one of REGIONS.
        large: probability of a truck or a bus.
    """
    draw = random.random()
    if draw < large:
        return TRUCK if random.random() < 0.7 else BUS
    if draw < large + _VANS:
        return VAN
    kinds, weights = _CARS[region]
    return kinds[int(np.searchsorted(np.cumsum(weights), random.random() * sum(weights)))]
