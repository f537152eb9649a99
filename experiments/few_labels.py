# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training on few labelled sweeps of a LiDAR that weights were not trained on, in simulation.

Writes labelled sweeps of a Livox Mid-360 at 0.5 m to a folder in KITTI's form, trains on it as
`train --start-from` does, and measures weights before and after on other streets, with this
sensor and with another. Weights of commit 91f0f4a are trained without any Livox:

git show 91f0f4a:tiny_bev_ros/weights/street.safetensors > build/91f0f4a.safetensors
scripts/with_env.sh python -m experiments.few_labels --weights build/91f0f4a.safetensors
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.tables import as_table
from experiments.adaptation_proof import MEASURES
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.file_digest import file_sha256
from tiny_bev_ros.models.checkpoint.metadata import read_metadata
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.augment import transform
from tiny_bev_ros.training.bootstrap import draw_frames, interval
from tiny_bev_ros.training.evaluation import Score
from tiny_bev_ros.training.evaluation_run import evaluate, load_min_scores
from tiny_bev_ros.training.evaluation_sets import SIMULATED
from tiny_bev_ros.training.kitti import write_kitti_frame
from tiny_bev_ros.training.simulated_lidar import Mountings, simulate_lidar_frame
from tiny_bev_ros.training.train import train
from tiny_bev_ros.training.training_config import TrainConfig, read_config

# Named sets with the new sensor and another one, the height of the sensor in metres, which weights
# that were not trained on levelled clouds need, and the reach of the map in metres.
NEW, OTHER = 'livox', 'sim'
_HEIGHTS = {NEW: 0.5, OTHER: NOMINAL_HEIGHT}
_REACHES = {NEW: 32.0, OTHER: 51.2}
# First seeds of labelled sweeps, of the streets that choose settings, and of those reported.
_LABELLED, _CHOICE, _REPORTED = 70_000, 72_000, 73_000
Values = dict[str, Any]
# Interval of a gain where there are too few frames.
_UNKNOWN = (float('nan'),) * 2


def write_sweeps(folder: Path, count: int) -> None:
    """Writes labelled sweeps of the new sensor, raised to the nominal height, of other streets."""
    chosen, lift = SIMULATED[NEW], _HEIGHTS[NEW] - NOMINAL_HEIGHT
    # Renamed when it is complete: a run that was stopped begins again.
    part = folder.with_name(f'{folder.name}.part')
    for seed in range(_LABELLED, _LABELLED + count):
        frame = simulate_lidar_frame(seed, (chosen.lidar,), chosen.mounting)
        write_kitti_frame(part, f'{seed:06d}', transform(frame, 0.0, z_shift=lift))
    part.rename(folder)


def run_config(path: str | Path, weights: Path, data: str, steps: int) -> TrainConfig:
    """Returns the configuration of a run.

    Args:
        path: file of the recipe.
        weights: start weights; simulated frames have the sensors that they
            were trained on, at the usual mounting, so that the labels alone hold what is new.
        data: folder of labelled sweeps.
        steps: number of updates of the weights; 0 for that of the recipe.
    """
    recipe = read_config(path)
    trained_on = read_metadata(weights).origin.get('config', {}).get('lidars', ())
    return replace(
        recipe,
        data=data,
        lidars=tuple(name for name in trained_on if name in LIDARS) or recipe.lidars,
        mountings=Mountings(levelled=read_metadata(weights).levelled),
        steps=steps or recipe.steps,
    )


def measure(weights: Path, name: str, first: int, streets: int) -> Score:
    """Returns the accuracy of weights on streets of a named set, from a first seed on."""
    side = _REACHES[name]
    detector = Detector(weights, (-side, side), (-side, side), sensor_height=_HEIGHTS[name])
    frames = (SIMULATED[name].frame(seed) for seed in range(first, first + streets))
    return evaluate(detector, frames, streets, load_min_scores(weights), name).score


def compare(before: Score, after: Score) -> Values:
    """Returns average precisions before and after, and their gain, with intervals."""
    counts, values = draw_frames(before.frames), {}
    for kind, view, min_iou in MEASURES:
        pair = [score.rankings['visible', kind, view, min_iou] for score in (before, after)]
        precisions = [ranking.average_precision() for ranking in pair]
        drawn = [ranking.resampled_precision(counts) for ranking in pair]
        values[f'{kind} {view} {min_iou}'] = {
            'before': [precisions[0], *(interval(drawn[0]) or (None, None))],
            'after': [precisions[1], *(interval(drawn[1]) or (None, None))],
            'gain': [precisions[1] - precisions[0], *(interval(drawn[1] - drawn[0]) or _UNKNOWN)],
            'objects': pair[0].positives,
        }
    return values


def markdown(rows: list[Values]) -> str:
    """Renders measured precisions as a table: before, after, and the interval of the gain."""
    names = [f'{kind} {view} {min_iou}' for kind, view, min_iou in MEASURES]
    lines = []
    for row in rows:
        for name in (NEW, OTHER):
            cells = []
            for each in (row[name][key] for key in names):
                gain, low, high = each['gain']
                cells.append(
                    f'{each["before"][0]:.3f} to {each["after"][0]:.3f}, '
                    f'{gain:+.3f} ({low:+.2f} to {high:+.2f})'
                )
            lines.append([str(row['sweeps']), str(row['steps']), name, *cells])
    return as_table(['labelled sweeps', 'steps', 'set', *names], lines)


def main() -> None:
    """Trains and measures; prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--weights', default='street', help='start weights (default: street)')
    add('--config', default='config/training/few_labels.yaml', help='the recipe')
    add(
        '--sweeps',
        type=int,
        nargs='+',
        default=[20, 50],
        help='number of labelled sweeps of each run (default: 20 50)',
    )
    add('--steps', type=int, default=0, help='updates (default: those of the recipe)')
    add('--streets', type=int, default=30, help='for each set (default: 30)')
    add('--choose', action='store_true', help='measure on the streets that choose settings')
    add('--output', default='build/few_labels', help='folder')
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder, weights = Path(options.output), find_weights(options.weights)
    first = _CHOICE if options.choose else _REPORTED
    before = {name: measure(weights, name, first, options.streets) for name in (NEW, OTHER)}
    rows: list[Values] = []
    for sweeps in options.sweeps:
        data = folder / f'sweeps_{sweeps}'
        if not data.exists():
            write_sweeps(data, sweeps)
        config = run_config(options.config, weights, str(data), options.steps)
        path = train(config, folder / f'run_{sweeps}', 'experiments.few_labels', weights)
        assert path is not None
        rows.append({'sweeps': sweeps, 'steps': config.steps})
        for name in (NEW, OTHER):
            after = measure(path, name, first, options.streets)
            rows[-1][name] = compare(before[name], after)
        print(markdown(rows[-1:]), flush=True)
    values = {
        'sha256': file_sha256(weights),
        'first_street': first,
        'streets': options.streets,
        'rows': rows,
    }
    (folder / 'few_labels.json').write_text(json.dumps(values, indent=1))
    print(f'\n{markdown(rows)}')


if __name__ == '__main__':
    main()
