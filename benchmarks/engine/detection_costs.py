# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Costs of objects and drivable area beyond the features, with the shipped weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.engine.benchmark_inputs import CPU
from benchmarks.tables import as_table
from benchmarks.timing import interleaved, median
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.resources import WEIGHTS, weights_file

MAPS = {
    'ahead': ((0.0, 51.2), (-25.6, 25.6)),
    'around': ((-51.2, 51.2), (-51.2, 51.2)),
}
_PRECISIONS = ('float32', 'bfloat16')
MIN_SCORES = (0.3, 0.3, 0.3)


def measure_detection(points: np.ndarray, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Times each stage from points to objects.

    Args:
        points: (N,4) float32 points of one sweep.
        threads: number of threads of the engine.
        rounds: timed runs of each stage.

    Returns:
        One row per map, precision and stage; none of a precision in which this CPU does not
        compute, see `BackboneRunner.float32_reason`.
    """
    work: dict[str, Callable[[], Any]] = {}
    for name, ranges in MAPS.items():
        models = LoadedModels.from_file(weights_file(WEIGHTS[0]), *ranges)
        assert models.grid is not None
        for precision in _PRECISIONS:
            runner = build_runner(models, ExecutionConfig(CPU, precision, threads=threads))
            assert isinstance(runner.backbone, BackboneRunner)
            if runner.backbone.float32_reason:
                continue
            pillars = runner.encode_points(points)
            if precision == 'float32':  # as pillars always are
                work[f'{name} float32 pillars'] = partial(runner.encode_points, points)
            run = partial(
                runner.extract_features, pillars.features, pillars.cells, models.grid.shape
            )
            work[f'{name} {precision} backbone'] = run
            heads = partial(runner.detect, run().clone(), runner.feature_grid, MIN_SCORES)
            work[f'{name} {precision} heads'] = heads
            refine = partial(runner.refine, heads(), points, MIN_SCORES)
            work[f'{name} {precision} refinement'] = refine
    return [
        {**dict(zip(('map', 'precision', 'stage'), key.split(), strict=True)), 'ms': ms}
        for key, ms in interleaved(work, rounds).items()
    ]


def stage_medians(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Returns median times in ms by map and precision: pillars, backbone, heads, second stage."""
    ms = {(row['map'], row['precision'], row['stage']): median(row['ms']) for row in rows}
    return {
        # Pillars are always float32.
        (name, precision): [
            ms[name, 'float32', 'pillars'],
            *(ms[name, precision, stage] for stage in ('backbone', 'heads', 'refinement')),
        ]
        for name, precision in dict.fromkeys(key[:2] for key in ms)
    }


def detection_table(rows: list[dict[str, Any]]) -> str:
    """Renders the rows as a Markdown table of medians."""
    table = []
    for (name, precision), times in stage_medians(rows).items():
        features = sum(times[:2])
        table.append(
            [
                name,
                precision,
                *(f'{each:.1f}' for each in times),
                f'{features:.1f}',
                f'{sum(times) / features:.2f}',
            ]
        )
    head = ['map', 'precision', 'pillars', 'backbone', 'heads', 'second stage', 'features alone']
    return as_table([*head, 'time ratio with objects and area'], table)
