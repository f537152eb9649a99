# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Errors of both networks of a bundle in ONNX Runtime against PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.autoware_emulation import AutowarePillars, EmulatedNode
from tiny_bev_ros.export.autoware_networks import HEAD_OUTPUTS
from tiny_bev_ros.export.autoware_parameters import ENCODER, HEAD
from tiny_bev_ros.export.export_report import ParityRow

# Largest error of an output, relative to the largest magnitude.
TOLERANCE = 1e-4
# Fraction of the values of `rot` that is compared: undecided headings flip by rounding.
_COMPARED_ROTATIONS = 0.999


@torch.no_grad()
def check_parity(
    node: EmulatedNode, pillars: AutowarePillars, encoder: nn.Module, head: nn.Module
) -> list[ParityRow]:
    """Compares all outputs on the pillars of a sweep.

    Args:
        node: emulated node with the bundle.
        pillars: pillars of the sweep.
        encoder: first network, in PyTorch.
        head: second network, in PyTorch.

    Raises:
        TinyBevError: an error is above the tolerance.
    """
    wanted = encoder(torch.from_numpy(pillars.features)).numpy()
    errors = {f'{ENCODER}: pillar_features': _error(node.encode(pillars), wanted)}
    canvas = node.scatter(wanted, pillars.cells)
    outputs = node.run_head(canvas)
    for name, value in zip(HEAD_OUTPUTS, head(torch.from_numpy(canvas)), strict=True):
        fraction = _COMPARED_ROTATIONS if name == 'rot' else 1.0
        errors[f'{HEAD}: {name}'] = _error(outputs[name], value.numpy(), fraction)
    rows = [ParityRow(name, error, TOLERANCE) for name, error in errors.items()]
    for row in rows:
        if not row.error <= row.tolerance:
            raise TinyBevError(
                f'{row.name} has an error of {row.error:.2g} in ONNX Runtime; expected at most '
                f'{row.tolerance:.2g}'
            )
    return rows


def _error(found: np.ndarray, wanted: np.ndarray, fraction: float = 1.0) -> float:
    """Returns the largest error of a fraction of the values, relative to the largest magnitude."""
    if found.shape != wanted.shape:
        return float('inf')
    largest = float(np.abs(wanted).max()) or 1.0
    return float(np.quantile(np.abs(found - wanted), fraction)) / largest
