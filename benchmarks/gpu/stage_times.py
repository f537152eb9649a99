# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Times of every stage of a frame by the device's clock, with the shipped weights."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import torch

from benchmarks.engine.detection_costs import MIN_SCORES
from benchmarks.gpu.check_inputs import PRECISIONS, shipped_runner
from benchmarks.gpu.check_section import CheckSettings, SectionResult, add_failure
from benchmarks.tables import as_table
from tiny_bev_ros.inference.device_timer import StageTimer
from tiny_bev_ros.inference.model_runner import ModelRunner

SPARSITIES = {'never': 'dense', 'always': 'sparse', 'auto': 'auto'}
STAGES = ('pillars', 'backbone', 'heads', 'features to host')
FRAME = 'cloud to objects'
# Precision of the summary row; not bfloat16, as GPUs before compute capability 8.0 lack it.
_SUMMARY = 'float16'
_WARM_UP = 5


def measure_stages(settings: CheckSettings) -> SectionResult:
    """Times each compute dtype and path; p50 / p95 in milliseconds."""
    result = SectionResult()
    rows = []
    for precision in PRECISIONS:
        for sparsity, path in SPARSITIES.items():
            try:
                runner = shipped_runner(settings, settings.device, precision, sparsity)
                ms, paths = _times(runner, settings)
            except Exception as error:
                add_failure(result, f'{precision}, {path}', error, settings.device)
                continue
            cells = {stage: percentiles(values) for stage, values in ms.items()}
            taken = path if path != 'auto' else f'auto ({", ".join(sorted(paths))})'
            rows.append([precision, taken, *cells.values()])
            if precision == _SUMMARY:
                result.figures |= _summary(path, cells)
    rows_cols = ' x '.join(map(str, settings.grid.shape))
    result.text = (
        f'{rows_cols} cells, {settings.frames} frames, p50 / p95 in ms. Stages by events on the '
        'device, heads with their copies to the host; features to host: all of them, as they '
        f'are, to pageable memory; {FRAME}: by the clock of the host, without that copy.\n\n'
        + as_table(['compute dtype', 'path', *STAGES, FRAME], rows)
    )
    return result


def percentiles(ms: list[float]) -> str:
    """Formats the median and the 95th percentile."""
    low, high = np.percentile(ms, [50, 95])
    return f'{low:.2f} / {high:.2f}'


def _times(
    runner: ModelRunner, settings: CheckSettings
) -> tuple[dict[str, list[float]], set[str]]:
    """Returns milliseconds by stage, and the paths that the frames took."""
    assert runner.backbone is not None
    ms: dict[str, list[float]] = defaultdict(list)
    paths = set()
    for number in range(_WARM_UP + settings.frames):
        stages, frame = _frame(runner, settings, settings.clouds[number % len(settings.clouds)])
        if number < _WARM_UP:
            continue
        paths.add(runner.backbone.statistics.path)
        for stage, seconds in stages.items():
            ms[stage].append(seconds * 1e3)
        ms[FRAME].append(frame * 1e3)
    return ms, paths


def _frame(
    runner: ModelRunner, settings: CheckSettings, cloud: np.ndarray
) -> tuple[dict[str, float], float]:
    """Runs one frame; returns the seconds of each stage, and those of the host's clock."""
    torch.cuda.synchronize(settings.device)
    begin = time.perf_counter()
    timer = StageTimer(settings.device)
    pillars = runner.encode_points(cloud)
    timer.lap('pillars')
    features = runner.extract_features(pillars.features, pillars.cells, settings.grid.shape)
    timer.lap('backbone')
    runner.detect(features, runner.feature_grid, MIN_SCORES)
    frame = time.perf_counter() - begin
    timer.lap('heads')
    features.cpu()
    timer.lap('features to host')
    return timer.seconds(), frame


def _summary(path: str, cells: dict[str, str]) -> dict[str, str]:
    figures = {f'backbone, {path}': cells['backbone']}
    if path == 'auto':
        return {stage: cells[stage] for stage in ('pillars', 'heads', FRAME)}
    return figures
