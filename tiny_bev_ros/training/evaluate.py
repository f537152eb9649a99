# SPDX-License-Identifier: Apache-2.0
"""Measures trained weights on a folder like KITTI's, or on simulated streets."""

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
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.dataset import make_sample
from tiny_bev_ros.training.evaluation import (
    MIN_IOUS,
    EvalFrame,
    Score,
    kitti_eval_frames,
    mistakes,
    simulated_eval_frame,
)
from tiny_bev_ros.training.evaluation_plots import draw_curves, draw_worst
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.simulated import simulated

# Below it nobody wants to see anything; the curves go down to it.
_FLOOR = 0.05
# What the picture of the worst frames shows, and of how many.
_LIKELY = 0.3
_WORST = 4
_REACH = 50.0
# A map reaches a little farther, a multiple of so many cells.
_BEYOND = 51.0
_BLOCK = 8


def reach_of(weights: str | Path) -> float:
    """How far a map of the cells of some weights reaches, in metres: 50 and a little."""
    cell = read_metadata(weights).cell
    return math.ceil(_BEYOND / (_BLOCK * cell)) * _BLOCK * cell


@dataclass
class Result:
    """What came of an evaluation.

    Attributes:
        score: of all frames.
        times: that each took, in ms.
        worst: frames with most mistakes, what was seen in them, and which objects were missed.
    """

    score: Score = field(default_factory=Score)
    times: list[float] = field(default_factory=list)
    worst: list[tuple[EvalFrame, HeadOutputs, np.ndarray]] = field(default_factory=list)


def evaluate(detector: Detector, exams: Iterable[EvalFrame], count: int) -> Result:
    """Looks at all frames."""
    result, kept = Result(), []
    for exam in tqdm(exams, total=count, unit='frame', disable=None):
        seen = detector(exam.frame.points, (_FLOOR,) * len(CLASSES))
        result.times.append(sum(detector.seconds.values()) * 1e3)
        if seen.detections is not None:
            result.score.add(exam, seen.detections)
            likely = seen.detections.scores >= _LIKELY
            found = Detections(*(each[likely] for each in seen.detections))
            wrong, missed = mistakes(exam, found)
            kept.append((wrong, exam, HeadOutputs({**seen, 'detection': found}), missed))
            kept = sorted(kept, key=lambda each: each[0], reverse=True)[:_WORST]
        if seen.drivable is not None and exam.frame.road is not None:
            sample = make_sample(exam.frame, detector.grid, detector.stride, ['drivable'])
            truth = sample.targets['drivable']
            said = seen.drivable.numpy() >= 0.5
            known = truth.observed.numpy() > 0.5
            result.score.add_area(said, truth.drivable.numpy() > 0.5, known)
    result.worst = [each[1:] for each in kept]
    return result


def report(result: Result) -> str:
    """Markdown: one table, and the lines around it."""
    score = result.score
    lines = [f'{score.frames} frames, {np.median(result.times):.1f} ms each (median).', '']
    names = [f'{view} {least}' for view in ('bev', '3d') for least in MIN_IOUS]
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
    if score.both:
        lines += ['', f'Drivable area: IoU {score.drivable_iou:.3f}.']
    return '\n'.join(lines)


def as_json(result: Result) -> dict:
    """The same, to be read by programs."""
    score = result.score
    names = ('objects', 'class', 'view', 'min_iou', 'number')
    rows = [
        {
            **dict(zip(names, row, strict=True)),
            'ap': None if np.isnan(precision) else precision,
        }
        for *row, precision in score.table()
    ]
    iou = score.drivable_iou if score.both else None
    return {
        'frames': score.frames,
        'median_ms': float(np.median(result.times)),
        'drivable_iou': iou,
        'average_precision': rows,
    }


def main() -> int:
    """Entry point of the evaluate executable; returns its exit code."""
    parser = argparse.ArgumentParser(prog='evaluate', description=__doc__)
    parser.add_argument('--weights', required=True, help='file of train')
    parser.add_argument('--data', default='sim', help="'sim', or a folder in the form of KITTI's")
    parser.add_argument('--frames', type=int, default=100, help='simulated ones (default: 100)')
    parser.add_argument(
        '--lidar', default='vlp32', choices=list(LIDARS), help='simulated one (default: vlp32)'
    )
    parser.add_argument('--output', default='build/evaluate', help='folder for JSON and picture')
    options = parser.parse_args()
    folder = Path(options.output)
    try:
        if options.data == 'sim':
            side = reach_of(options.weights)
            detector = Detector(options.weights, (-side, side), (-side, side))
            exams: Iterable[EvalFrame] = (
                simulated_eval_frame(str(seed), simulated(seed, (options.lidar,)), _REACH)
                for seed in range(options.frames)
            )
            count = options.frames
        else:
            side = reach_of(options.weights)
            detector = Detector(options.weights, (0.0, side), (-side / 2, side / 2))
            frames = KittiFolder(options.data)
            if frames.remark:
                print(f'evaluate: {frames.remark}', file=sys.stderr)
            exams, count = kitti_eval_frames(frames, _REACH), len(frames)
        result = evaluate(detector, exams, count)
    except TinyBevError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    print(report(result))
    (folder / 'evaluation.json').write_text(json.dumps(as_json(result), indent=1))
    print(f'\nin {folder}: evaluation.json')
    if result.worst:  # the network has a head for objects
        draw_curves(result.score, folder / 'precision_recall.png')
        draw_worst(result.worst, detector.fine, folder / 'worst.png')
        print(f'in {folder}: precision_recall.png, worst.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
