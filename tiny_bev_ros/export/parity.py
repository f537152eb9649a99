# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parity: exported networks against PyTorch on simulated clouds, at sizes that were not traced."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.export_report import ParityRow
from tiny_bev_ros.export.exported_parts import ExportedPart
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models.pillars import pillarize
from tiny_bev_ros.optional_imports import one_line
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

# Largest error relative to the largest magnitude, by the number format of the weights.
TOLERANCES = {'float32': 1e-4, 'float16': 1e-2}
# Frames, rows and columns of the compared maps: windows, strides and batches of other remainders
# than in the traced size.
SIZES = ((1, 64, 80), (2, 97, 51))
# Least side of a cell in metres: maps of fewer metres would lie inside the innermost ring of the
# simulated LiDAR.
_MIN_CELL = 0.2


class ParityCase(NamedTuple):
    """Inputs of one comparison with the outputs of PyTorch.

    Attributes:
        size: size of the inputs, for the table.
        inputs: inputs in the order of the network's arguments.
        wanted: outputs of PyTorch, in their order.
    """

    size: str
    inputs: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]


@torch.no_grad()
def parity_cases(part: ExportedPart, models: LoadedModels) -> list[ParityCase]:
    """Makes the comparisons of a part, from simulated clouds and the pillars of `Detector`.

    Args:
        part: exported part.
        models: all networks of the weights.
    """
    if part.name == 'pfn':
        return [_pillar_case(models, _grid(models, SIZES[0]))]
    cases = []
    for batch, rows, cols in SIZES:
        image = _pseudo_images(models, _grid(models, (batch, rows, cols)), batch)
        found = part.network(image)
        wanted = (found,) if isinstance(found, Tensor) else tuple(found)
        cases.append(ParityCase(f'{batch} x {rows} x {cols}', (image,), wanted))
    return cases


def check_parity(
    part: ExportedPart,
    file: str,
    run: Callable[..., Sequence[Tensor]],
    cases: Iterable[ParityCase],
    tolerance: float,
) -> list[ParityRow]:
    """Compares an exported network with PyTorch.

    Args:
        part: exported part.
        file: name of its file, for the table and errors.
        run: exported network, from the inputs of a case to all outputs.
        cases: comparisons; see `parity_cases`.
        tolerance: largest accepted error.

    Returns:
        One row for each output and case.

    Raises:
        TinyBevError: an error is above the tolerance, an output has another shape, or the network
            cannot compute an input.
    """
    rows = []
    for case in cases:
        try:
            found = run(*case.inputs)
        except Exception as error:  # runtimes raise errors of any kind
            raise TinyBevError(
                f'{file} fails at {case.size} ({one_line(error)[:200]}); expected an export for '
                'maps of any size'
            ) from None
        for name, got, wanted in zip(part.outputs, found, case.wanted, strict=True):
            row = ParityRow(f'{file} {name} {case.size}', relative_error(got, wanted), tolerance)
            if not row.error <= tolerance:  # also where it is NaN
                raise TinyBevError(
                    f'error of {row.name} is {row.error:.1e} of its largest value; expected at '
                    f'most {tolerance:g}'
                )
            rows.append(row)
    return rows


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Returns the largest error over the largest magnitude; infinity for another shape."""
    if got.shape != wanted.shape:
        return float('inf')
    scale = wanted.abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
    return float((got.float() - wanted).abs().amax() / scale)


@functools.lru_cache(maxsize=4)
def simulated_points(seed: int, values: int) -> np.ndarray:
    """Simulates a sweep of a street.

    Args:
        seed: number of the street.
        values: number of values of a point, 4 or 5; a time is 0.

    Returns:
        (N, values) float32 x, y, z, intensity(, time).
    """
    sweep = scan(street(seed).at(0.0), LIDARS['vlp16'], ego_pose(street_plan(seed), 0.0), seed)
    return np.pad(sweep.points, [(0, 0), (0, values - sweep.points.shape[1])])


def _grid(models: LoadedModels, size: tuple[int, int, int]) -> BevGrid:
    """Grid with the sensor in its middle, of cells that are large enough to hold points."""
    assert models.grid is not None
    cell, (_, rows, cols) = max(models.grid.resolution, _MIN_CELL), size
    x_low, y_low = -(cols // 2) * cell, -(rows // 2) * cell
    ranges = (x_low, x_low + cols * cell), (y_low, y_low + rows * cell)
    return BevGrid(*ranges, models.grid.z_range, cell)


def _pseudo_images(models: LoadedModels, grid: BevGrid, batch: int) -> Tensor:
    assert models.pfn is not None
    runner = PillarRunner(models.pfn, grid, torch.device('cpu'))
    clouds = [simulated_points(seed, models.pfn.point_values) for seed in range(batch)]
    # A copy, as tensors of inference mode cannot be recorded.
    return torch.cat([runner.scatter(runner.pillars(cloud)).clone() for cloud in clouds])


def _pillar_case(models: LoadedModels, grid: BevGrid) -> ParityCase:
    assert models.pfn is not None
    cloud = torch.from_numpy(simulated_points(0, models.pfn.point_values))
    pillars = pillarize(cloud, grid)
    points = pad_sequence(pillars.points.split(pillars.counts.tolist()), batch_first=True)
    row, col = pillars.cells.unbind(1)
    centres = torch.stack([grid.x_axis.centre(col), grid.y_axis.centre(row)], dim=1).float()
    wanted = models.pfn.features(pillars, grid)
    size = f'{points.shape[0]} x {points.shape[1]}'
    return ParityCase(size, (points, pillars.counts.int(), centres), (wanted,))
