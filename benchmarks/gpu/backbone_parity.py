# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parity of every backbone, path and compute dtype on CUDA with float64 on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.check_inputs import (
    PRECISIONS,
    Pillars,
    random_backbone,
    random_pillars,
    relative_error,
    sparse_chains,
    without_graphs,
)
from benchmarks.gpu.check_section import CheckSettings, SectionResult, add_failure
from benchmarks.tables import as_table
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.models import scatter

TOLERANCES = {'float32': 1e-4, 'bfloat16': 0.05, 'float16': 0.05}
PATHS = ('dense, with graph', 'dense, without graph', 'sparse, as chosen', 'sparse, PyTorch')
# Each frame is compared; the third one finds traces of the other cloud in buffers.
_ORDER = (0, 1, 0)


@dataclass(frozen=True)
class _Measured:
    """Result of one path in one compute dtype.

    Attributes:
        error: largest relative error over the frames.
        chains: names of the classes of sparse chains that were built.
        unfused_reason: see `BackboneRunner.unfused_reason`.
    """

    error: float
    chains: set[str]
    unfused_reason: str


@torch.inference_mode()
def check_backbones(settings: CheckSettings) -> SectionResult:
    """Compares each backbone with its network in float64, error relative to the largest value."""
    result = SectionResult()
    rows = []
    chains: set[str] = set()
    unfused: set[str] = set()
    for name in settings.backbones:
        network = random_backbone(name, settings)
        described: Any = network
        pillars = random_pillars(settings, described.in_channels)
        wanted = [_reference(network, each, settings.grid.shape) for each in pillars]
        for path in PATHS:
            cells = []
            for precision in PRECISIONS:
                subject = f'{name}, {path}, {precision}'
                try:
                    found = _measure(network, path, precision, pillars, wanted, settings)
                except Exception as error:
                    add_failure(result, subject, error, settings.device)
                    cells.append('failed')
                    continue
                cells.append(f'{found.error:.1e}')
                unfused |= {found.unfused_reason} - {''}
                if path == 'sparse, as chosen':
                    chains |= found.chains
                if not found.error <= TOLERANCES[precision]:
                    result.failures.append(
                        f'{subject}: error is {found.error:.1e}; '
                        f'expected at most {TOLERANCES[precision]:g}'
                    )
            rows.append([name, path, *cells])
    result.text = (
        'Largest error over the largest magnitude, against float64 on the CPU; sparse path as '
        f'chosen: {", ".join(sorted(chains)) or "none"}; reasons for which a convolution and its '
        f'ReLU are launched apart: {", ".join(sorted(unfused)) or "none"}.\n\n'
        + as_table(['backbone', 'path', *PRECISIONS], rows)
    )
    return result


def _measure(
    network: nn.Module,
    path: str,
    precision: str,
    pillars: list[Pillars],
    wanted: list[Tensor],
    settings: CheckSettings,
) -> _Measured:
    """Measures a path over some frames."""
    shape, device = settings.grid.shape, settings.device
    sparsity = 'never' if path.startswith('dense') else 'always'
    with _path(path) as chosen:
        runner = BackboneRunner(
            copy.deepcopy(network), device, precision=precision, sparsity=sparsity
        )
        runner.warm_up(shape)
        if path != 'dense, without graph' and runner.no_graph_reason:
            raise RuntimeError(f'no CUDA graph: {runner.no_graph_reason}')
        errors = []
        for index in _ORDER:
            features, cells = (each.to(device) for each in pillars[index])
            errors.append(
                relative_error(runner.from_pillars(features, cells, shape), wanted[index])
            )
        dense = scatter(*pillars[1], shape).to(device)
        errors.append(relative_error(runner(dense), wanted[1]))
        unfused_reason = runner.unfused_reason
        runner.release()
    # `max` of a list with NaN could be any of its values.
    error = float(torch.tensor(errors, dtype=torch.float64).max())
    return _Measured(error, chosen, unfused_reason)


@contextmanager
def _path(path: str) -> Iterator[set[str]]:
    """Context manager: runners take a path; yields the names of the classes of sparse chains."""
    graphs = without_graphs() if path == 'dense, without graph' else nullcontext()
    with graphs, sparse_chains(pytorch=path == 'sparse, PyTorch') as chosen:
        yield chosen


def _reference(network: nn.Module, pillars: Pillars, shape: tuple[int, int]) -> Tensor:
    dense = scatter(pillars[0].double(), pillars[1], shape)
    found: Tensor = copy.deepcopy(network).double()(dense)
    return found
