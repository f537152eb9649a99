# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Measures the accuracy of trained weights on simulated streets or a folder in KITTI's form."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.checkpoint.metadata import read_metadata
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.dataset import make_sample
from tiny_bev_ros.training.evaluation import (
    MIN_IOUS,
    EvalFrame,
    Score,
    count_errors,
    kitti_eval_frames,
    simulated_eval_frame,
)
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.plots import draw_precision_recall, draw_worst_frames
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame

# Detections of lower scores are dropped; the curves end there.
_MIN_SCORE = 0.05
# Smallest score of the detections that count as errors, and number of frames that are drawn.
_LIKELY = 0.3
_WORST = 4
# Distance in metres up to which objects are evaluated.
_REACH = 50.0
# Least reach of the map in metres, and number of cells of which its reach is a multiple.
_MIN_MAP = 51.0
_BLOCK = 8


def map_reach(weights: str | Path) -> float:
    """Returns the reach of the map for weights, in metres, a little above 50."""
    cell = read_metadata(find_weights(weights)).cell
    return math.ceil(_MIN_MAP / (_BLOCK * cell)) * _BLOCK * cell


@dataclass
class Result:
    """Result of an evaluation.

    Attributes:
        score: accuracy over all frames.
        times: time for each frame, in ms.
        worst: frames with most errors, the predictions for them, and (M,7) boxes of the objects
            that were missed.
    """

    score: Score = field(default_factory=Score)
    times: list[float] = field(default_factory=list)
    worst: list[tuple[EvalFrame, HeadOutputs, np.ndarray]] = field(default_factory=list)


def evaluate(detector: Detector, frames: Iterable[EvalFrame], count: int) -> Result:
    """Runs a detector on frames and measures its accuracy.

    Args:
        detector: the detector.
        frames: labelled frames.
        count: number of frames, for the progress bar.
    """
    result, kept = Result(), []
    for frame in tqdm(frames, total=count, unit='frame', disable=None):
        output = detector(frame.lidar.points, _MIN_SCORE)
        result.times.append(sum(output.seconds.values()) * 1e3)
        outputs = output.heads
        if outputs.detections is not None:
            result.score.add(frame, outputs.detections)
            likely = outputs.detections.scores >= _LIKELY
            detections = Detections(*(values[likely] for values in outputs.detections))
            errors, missed = count_errors(frame, detections)
            kept.append((errors, frame, HeadOutputs({**outputs, 'detection': detections}), missed))
            kept = sorted(kept, key=lambda entry: entry[0], reverse=True)[:_WORST]
        if outputs.drivable is not None and frame.lidar.road is not None:
            sample = make_sample(frame.lidar, detector.grid, detector.stride, ['drivable'])
            truth = sample.targets['drivable']
            predicted = outputs.drivable.numpy() >= 0.5
            observed = truth.observed.numpy() > 0.5
            result.score.add_area(predicted, truth.drivable.numpy() > 0.5, observed)
    result.worst = [entry[1:] for entry in kept]
    return result


def report(result: Result) -> str:
    """Writes a result as Markdown: a table, and the lines around it."""
    score = result.score
    lines = [f'{score.frames} frames, {np.median(result.times):.1f} ms each (median).', '']
    names = [f'{view} {min_iou}' for view in ('bev', '3d') for min_iou in MIN_IOUS]
    lines += [
        '| objects | class | number | ' + ' | '.join(f'AP {name}' for name in names) + ' |',
        '|---' * (3 + len(names)) + '|',
    ]
    cells: dict[tuple[str, str], list[str]] = {}
    for level, kind, _, _, number, precision in score.table():
        cells.setdefault((level, kind), [str(number)]).append(
            '-' if np.isnan(precision) else f'{precision:.3f}'
        )
    lines += [
        f'| {level} | {kind} | ' + ' | '.join(row) + ' |' for (level, kind), row in cells.items()
    ]
    if score.union:
        lines += ['', f'Drivable area: IoU {score.drivable_iou:.3f}.']
    return '\n'.join(lines)


def as_json(result: Result) -> dict:
    """Converts a result to values that JSON takes."""
    score = result.score
    names = ('objects', 'class', 'view', 'min_iou', 'number')
    rows = [
        {
            **dict(zip(names, row, strict=True)),
            'ap': None if np.isnan(precision) else precision,
        }
        for *row, precision in score.table()
    ]
    iou = score.drivable_iou if score.union else None
    return {
        'frames': score.frames,
        'median_ms': float(np.median(result.times)),
        'drivable_iou': iou,
        'average_precision': rows,
    }


def main() -> int:
    """Runs the evaluate executable; returns its exit code."""
    parser = argparse.ArgumentParser(prog='evaluate', description=__doc__)
    parser.add_argument(
        '--weights', required=True, help='name of shipped weights, or a file of train'
    )
    parser.add_argument(
        '--data', default='sim', help="'sim' (default), or a folder in KITTI's form"
    )
    parser.add_argument('--frames', type=int, default=100, help='simulated frames (default: 100)')
    parser.add_argument(
        '--lidar', default='vlp32', choices=list(LIDARS), help='simulated sensor (default: vlp32)'
    )
    parser.add_argument('--output', default='build/evaluate', help='folder of JSON and figures')
    options = parser.parse_args()
    folder = Path(options.output)
    try:
        if options.data == 'sim':
            side = map_reach(options.weights)
            detector = Detector(options.weights, (-side, side), (-side, side))
            frames: Iterable[EvalFrame] = (
                simulated_eval_frame(
                    str(seed), simulate_lidar_frame(seed, (options.lidar,)), _REACH
                )
                for seed in range(options.frames)
            )
            count = options.frames
        else:
            side = map_reach(options.weights)
            detector = Detector(options.weights, (0.0, side), (-side / 2, side / 2))
            kitti = KittiFolder(options.data)
            if kitti.remark:
                print(f'evaluate: {kitti.remark}', file=sys.stderr)
            frames, count = kitti_eval_frames(kitti, _REACH), len(kitti)
        result = evaluate(detector, frames, count)
    except TinyBevError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    print(report(result))
    (folder / 'evaluation.json').write_text(json.dumps(as_json(result), indent=1))
    print(f'\nwritten: {folder}/evaluation.json')
    if result.worst:  # the network has a detection head
        draw_precision_recall(result.score, folder / 'precision_recall.png')
        draw_worst_frames(result.worst, detector.feature_grid, folder / 'worst.png')
        print(f'written: {folder}/precision_recall.png and worst.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
