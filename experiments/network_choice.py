# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Accuracy and time of backbones and sizes of cells, each after an equally short training.

Trains each candidate from random weights by the recipe of the shipped ones, measures it on other
streets, and at the end times all of them in turn on the same frames. The candidates that are
trained already are not trained again:

scripts/with_env.sh python -m experiments.network_choice
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.tables import as_table
from benchmarks.timing import interleaved, median
from experiments.adaptation_proof import precisions
from tiny_bev_ros.training.evaluation_run import (
    build_evaluation_detector,
    evaluate,
    load_min_scores,
)
from tiny_bev_ros.training.evaluation_sets import SIMULATED
from tiny_bev_ros.training.train import train
from tiny_bev_ros.training.training_config import TrainConfig, read_config
from tiny_bev_ros.whole_number import whole_number

_SET = 'sim'
# First seed of the streets, which neither training nor evaluation has, and number of those timed.
_STREETS, _TIMED = 75_000, 4
# Cells of a crop are a multiple of it, so that every backbone can halve them.
_BLOCK = 16
# Measures of the table: class, view and IoU of a hit.
MEASURES = (
    ('vehicle', 'bev', 0.5),
    ('vehicle', 'bev', 0.7),
    ('pedestrian', 'bev', 0.25),
    ('cyclist', 'bev', 0.5),
)
Values = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """Network and cells.

    Attributes:
        backbone: name in the registry of backbones.
        cell: side of a pillar, in metres.
        mid_channels: number of channels inside the backbone.
    """

    backbone: str
    cell: float
    mid_channels: int = 48

    @property
    def name(self) -> str:
        """Name of its folder and of its row."""
        return f'{self.backbone} {self.cell} m {self.mid_channels} channels'


CANDIDATES = (
    Candidate('fpn', 0.2),
    Candidate('fpn', 0.16),
    Candidate('fpn', 0.25),
    Candidate('tiny', 0.2),
    Candidate('deep', 0.2),
    Candidate('fpn', 0.2, 64),
)


def run_config(recipe: TrainConfig, candidate: Candidate, steps: int) -> TrainConfig:
    """Returns the recipe with network and cells of a candidate, and a number of steps."""
    crop = recipe.crop
    blocks = round(crop.size / candidate.cell / _BLOCK)
    return replace(
        recipe,
        steps=steps,
        network=replace(
            recipe.network, backbone=candidate.backbone, mid_channels=candidate.mid_channels
        ),
        crop=replace(crop, size=blocks * _BLOCK * candidate.cell, resolution=candidate.cell),
    )


def measure(weights: Path, streets: int) -> Values:
    """Returns average precisions, by class, view and IoU, and the IoU of the drivable area."""
    frames = (SIMULATED[_SET].frame(seed) for seed in range(_STREETS, _STREETS + streets))
    detector = build_evaluation_detector(weights)
    score = evaluate(detector, frames, streets, load_min_scores(weights), _SET).score
    return {**precisions(score, MEASURES), 'drivable area IoU': score.drivable_iou}


def time_detectors(weights: dict[str, Path], rounds: int) -> dict[str, float]:
    """Returns the median milliseconds of a cloud, by name of the candidate."""
    clouds = [
        SIMULATED[_SET].frame(seed).lidar.points for seed in range(_STREETS, _STREETS + _TIMED)
    ]
    detectors = {name: build_evaluation_detector(path) for name, path in weights.items()}
    work = {
        (name, index): partial(detector, cloud)
        for index, cloud in enumerate(clouds)
        for name, detector in detectors.items()
    }
    times = interleaved(work, rounds)
    return {
        name: median([ms for index in range(_TIMED) for ms in times[name, index]])
        for name in weights
    }


def markdown(rows: list[Values]) -> str:
    """Renders the measured values as a table."""
    names = list(rows[0]['accuracy'])
    lines = [
        [
            row['candidate'],
            *(f'{row["accuracy"][name]:.3f}' for name in names),
            f'{row["ms"]:.1f}',
            f'{row["ms"] / rows[0]["ms"]:.2f}',
        ]
        for row in rows
    ]
    return as_table(['network and cells', *names, 'ms', 'times the first'], lines)


def main() -> None:
    """Trains, measures and times; prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--config', default='config/training/street.yaml', help='the recipe')
    add('--steps', type=whole_number(1), default=2000, help='updates of each (default: 2000)')
    add('--streets', type=whole_number(1), default=30, help='streets (default: 30)')
    add('--rounds', type=whole_number(1), default=7, help='timed calls of each (default: 7)')
    add('--output', default='build/network_choice', help='folder')
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder, recipe = Path(options.output), read_config(options.config)
    rows, weights = [], {}
    for candidate in CANDIDATES:
        config = run_config(recipe, candidate, options.steps)
        path = train(config, folder / candidate.name, 'experiments.network_choice')
        assert path is not None
        accuracy = measure(path, options.streets)
        weights[candidate.name] = path
        rows.append({'candidate': candidate.name, 'accuracy': accuracy})
        print(candidate.name, accuracy, flush=True)
    times = time_detectors(weights, options.rounds)
    rows = [{**row, 'ms': times[row['candidate']]} for row in rows]
    values = {'steps': options.steps, 'streets': options.streets, 'rows': rows}
    (folder / 'network_choice.json').write_text(json.dumps(values, indent=1))
    print(f'\n{markdown(rows)}')


if __name__ == '__main__':
    main()
