# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Adaptation of shipped weights to a LiDAR that they were not trained on, in simulation.

Simulates unlabelled drives with a Livox Mid-360, adapts the weights to them as `train --adapt`
does, and measures old and adapted weights on other streets, with this sensor and with another:

scripts/with_env.sh python -m experiments.adaptation_proof
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tables import as_table
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan
from tiny_bev_ros.training.adaptation import adapt
from tiny_bev_ros.training.evaluation import Score, simulated_eval_frame
from tiny_bev_ros.training.evaluation_run import build_evaluation_detector, evaluate
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame
from tiny_bev_ros.training.train import WEIGHTS

NEW, OTHER = 'mid360', 'vlp32'
# First seeds of the streets of the drives and of the evaluation; those from 61,000 to 61,089 and
# from 62,000 on served to choose settings.
_DRIVES, _STREETS = 60_000, 61_500
_SWEEPS, _PERIOD_S, _SPEED = 3, 0.1, 8.0
# Measures of the tables: class, view and IoU of a hit.
MEASURES = (
    ('vehicle', 'bev', 0.5),
    ('vehicle', 'bev', 0.7),
    ('vehicle', '3d', 0.5),
    ('pedestrian', 'bev', 0.25),
    ('cyclist', 'bev', 0.5),
)


def drives(count: int) -> Iterator[list[np.ndarray]]:
    """Yields runs of three sweeps at 10 Hz, each on a street of its own, without labels."""
    for seed in range(_DRIVES, _DRIVES + count):
        scene, plan = street(seed), street_plan(seed)
        yield [
            scan(
                scene.at(index * _PERIOD_S),
                LIDARS[NEW],
                ego_pose(plan, _SPEED * index * _PERIOD_S),
                seed * _SWEEPS + index,
            ).points
            for index in range(_SWEEPS)
        ]


def measure(weights: str | Path, lidar: str, streets: int) -> dict[str, float]:
    """Returns average precisions on simulated streets, by class, view and IoU."""
    frames = (
        simulated_eval_frame(str(seed), simulate_lidar_frame(seed, (lidar,)))
        for seed in range(_STREETS, _STREETS + streets)
    )
    return precisions(
        evaluate(build_evaluation_detector(weights), frames, streets).score, MEASURES
    )


def precisions(score: Score, measures: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Returns average precisions of visible objects, by class, view and IoU."""
    return {
        f'{kind} {view} {iou}': score.rankings['visible', kind, view, iou].average_precision()
        for kind, view, iou in measures
    }


def markdown(values: dict[str, Any]) -> str:
    """Returns the measured precisions as a table."""
    names = [f'{kind} {view} {iou}' for kind, view, iou in MEASURES]
    rows = [
        [lidar, weights, *(f'{values[lidar][weights][name]:.3f}' for name in names)]
        for lidar in (NEW, OTHER)
        for weights in ('old', 'adapted')
    ]
    return as_table(['sensor', 'weights', *names], rows)


def main() -> None:
    """Adapts and measures; prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--weights', default='street', help='weights to adapt (default: street)')
    parser.add_argument('--drives', type=int, default=67, help='runs of 3 sweeps (default: 67)')
    parser.add_argument('--steps', type=int, default=300, help='updates (default: 300)')
    parser.add_argument('--streets', type=int, default=240, help='for each sensor (default: 240)')
    parser.add_argument('--output', default='build/adaptation_proof', help='new folder')
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(options.output)
    began = time.process_time()
    print(adapt(options.weights, drives(options.drives), folder, options.steps), flush=True)
    values: dict[str, Any] = {'seconds': time.process_time() - began}
    pairs = {'old': find_weights(options.weights), 'adapted': folder / WEIGHTS}
    for lidar in (NEW, OTHER):
        values[lidar] = {
            name: measure(path, lidar, options.streets) for name, path in pairs.items()
        }
    (folder / 'proof.json').write_text(json.dumps(values, indent=1))
    print(f'\n{values["seconds"]:.0f} s of processor time\n\n{markdown(values)}')


if __name__ == '__main__':
    main()
