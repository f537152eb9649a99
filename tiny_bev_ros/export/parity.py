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

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.export_report import ParityRow
from tiny_bev_ros.export.exported_parts import ExportedPart
from tiny_bev_ros.export.simulated_inputs import (
    centred_grid,
    make_pseudo_images,
    simulated_points,
)
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models.pillars import pillarize
from tiny_bev_ros.optional_imports import one_line

# Largest accepted error by the number format of the weights; see `check_parity`.
TOLERANCES = {'float32': 1e-4, 'float16': 1e-2, 'int8': 0.25}
# Frames, rows and columns of the compared maps: windows, strides and batches of other remainders
# than in the traced size.
SIZES = ((1, 64, 80), (2, 97, 51))
_TINY = torch.finfo(torch.float32).tiny


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
    assert models.pfn is not None
    if part.name == 'pfn':
        return [_pillar_case(models, centred_grid(models, SIZES[0][1:]))]
    cases = []
    for batch, rows, cols in SIZES:
        clouds = [simulated_points(seed, models.pfn.point_values) for seed in range(batch)]
        image = torch.cat(make_pseudo_images(models, centred_grid(models, (rows, cols)), clouds))
        found = part.network(image)
        wanted = (found,) if isinstance(found, Tensor) else tuple(found)
        cases.append(ParityCase(f'{batch} x {rows} x {cols}', (image,), wanted))
    return cases


def check_parity(
    part: ExportedPart,
    file: str,
    run: Callable[..., Sequence[Tensor]],
    cases: Iterable[ParityCase],
) -> list[ParityRow]:
    """Compares an exported network with PyTorch.

    The error of an output is its largest error over its largest magnitude; with int8 weights the
    norm of its errors over its norm, as single errors are large where a map has a steep edge.

    Args:
        part: exported part, whose number format is a key of TOLERANCES.
        file: name of its file, for the table and errors.
        run: exported network, from the inputs of a case to all outputs.
        cases: comparisons; see `parity_cases`.

    Returns:
        One row for each output and case.

    Raises:
        TinyBevError: an error is above the tolerance, an output has another shape, or the network
            cannot compute an input.
    """
    tolerance = TOLERANCES[part.number_format]
    measure, unit = relative_error, 'largest value'
    if part.number_format == 'int8':
        measure, unit = relative_norm, 'norm'
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
            row = ParityRow(f'{file} {name} {case.size}', measure(got, wanted), tolerance)
            if not row.error <= tolerance:  # also where it is NaN
                raise TinyBevError(
                    f'error of {row.name} is {row.error:.1e} of its {unit}; expected at most '
                    f'{tolerance:g}'
                )
            rows.append(row)
    return rows


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Returns the largest error over the largest magnitude; infinity for another shape."""
    if got.shape != wanted.shape:
        return float('inf')
    scale = wanted.abs().amax().clamp(min=_TINY)
    return float((got.float() - wanted).abs().amax() / scale)


def relative_norm(got: Tensor, wanted: Tensor) -> float:
    """Returns the norm of the errors over the norm of the output; infinity for another shape."""
    if got.shape != wanted.shape:
        return float('inf')
    return float((got.float() - wanted).norm() / wanted.norm().clamp(min=_TINY))


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
