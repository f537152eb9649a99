# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Waits of the host for the device in one frame, found by PyTorch's sync debug mode."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine.detection_costs import MIN_SCORES
from benchmarks.gpu.check_inputs import PRECISIONS, shipped_runner, sparse_chains
from benchmarks.gpu.check_section import CheckSettings, SectionResult, add_failure
from benchmarks.gpu.stage_times import SPARSITIES
from benchmarks.tables import as_table
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain

_WAIT = 'called a synchronizing CUDA operation'


def check_waits(settings: CheckSettings) -> SectionResult:
    """Counts the waits of each stage; a stage without any then runs in the mode that raises."""
    result = SectionResult()
    rows = []
    for precision in PRECISIONS:
        for sparsity, path in SPARSITIES.items():
            subject = f'{precision}, {path}'
            try:
                most, found = _combination(settings, precision, sparsity)
            except Exception as error:
                add_failure(result, subject, error, settings.device)
                continue
            for stage, lines in found.items():
                count = lines.total()
                where = ', '.join(f'{line} ({times})' for line, times in lines.items())
                rows.append([precision, path, stage, str(count), str(most[stage]), where])
                if count > most[stage]:
                    result.failures.append(
                        f'{subject}, {stage}: the host waits {count} times; '
                        f'expected at most {most[stage]} ({where})'
                    )
    head = ['compute dtype', 'path', 'stage', 'waits', 'at most', 'lines']
    result.text = (
        'Waits of the host within a frame, by `torch.cuda.set_sync_debug_mode`, which does not '
        'report the declared ones, for events.\n\n' + as_table(head, rows)
    )
    return result


def _combination(
    settings: CheckSettings, precision: str, sparsity: str
) -> tuple[dict[str, int], dict[str, Counter[str]]]:
    """Returns the largest number of waits and the lines that wait, by stage.

    Raises:
        RuntimeError: a stage waited that had not waited in the frame before.
    """
    most = dict(settings.max_waits)
    with sparse_chains() as chains:
        runner = shipped_runner(settings, settings.device, precision, sparsity)
        if sparsity != 'never' and TorchChain.__name__ in chains:
            most['backbone'] += settings.torch_chain_waits
        for cloud in settings.clouds:  # the first may still allocate buffers
            found = _waits(runner, settings, cloud, dict.fromkeys(most, 'warn'))
        modes = {stage: 'warn' if lines else 'error' for stage, lines in found.items()}
        _waits(runner, settings, settings.clouds[0], modes)
    return most, found


def _waits(
    runner: ModelRunner, settings: CheckSettings, cloud: np.ndarray, modes: dict[str, str]
) -> dict[str, Counter[str]]:
    """Runs one frame; returns the lines that wait, with their number, by stage.

    Args:
        runner: warm runner.
        settings: sizes of the check.
        cloud: (N,4) float32.
        modes: sync debug mode of each stage: 'warn' counts waits, 'error' raises.
    """
    waits = {stage: Counter[str]() for stage in modes}
    with _sync_debug(modes['pillars'], waits['pillars']):
        pillars = runner.encode_points(cloud)
    with _sync_debug(modes['backbone'], waits['backbone']):
        features = runner.extract_features(pillars.features, pillars.cells, settings.grid.shape)
    with _sync_debug(modes['heads'], waits['heads']):
        runner.detect(features, runner.feature_grid, MIN_SCORES)
    return waits


@contextmanager
def _sync_debug(mode: str, lines: Counter[str]) -> Iterator[None]:
    """Context manager: counts reported waits by line of the package.

    Raises:
        RuntimeError: the mode is 'error', and the host waited.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')
    for warning in caught:
        if _WAIT in str(warning.message):
            place = '/'.join(Path(warning.filename).parts[-2:])
            lines[f'{place}:{warning.lineno}'] += 1
