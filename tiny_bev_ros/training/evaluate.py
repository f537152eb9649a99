# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Measures the accuracy of trained weights on named sets of simulated and recorded frames."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.file_digest import file_sha256
from tiny_bev_ros.inference.exported_builder import exported_files
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.bootstrap import CONFIDENCE, RESAMPLES
from tiny_bev_ros.training.calibrate import calibrate
from tiny_bev_ros.training.evaluation import Score
from tiny_bev_ros.training.evaluation_report import VISIBLE, Values, report, score_values
from tiny_bev_ros.training.evaluation_run import (
    Result,
    build_evaluation_detector,
    evaluate,
    has_second_stage,
    load_min_scores,
)
from tiny_bev_ros.training.evaluation_sets import (
    NAMES,
    REAL,
    RECORDED,
    SIMULATED,
    open_set,
    parse_names,
    title_of,
)
from tiny_bev_ros.training.nuscenes_argoverse import MissingDataError
from tiny_bev_ros.training.plots import draw_precision_recall, draw_worst_frames
from tiny_bev_ros.whole_number import whole_number

_STAGES = {'on': (True,), 'off': (False,), 'both': (True, False)}
_FRAMES, _CALIBRATION_FRAMES = 60, 200


class SetResult(NamedTuple):
    """Result of one set.

    Attributes:
        name: name of the set.
        second_stage: true with the second stage, false without it, None for weights without one.
        result: the result.
    """

    name: str
    second_stage: bool | None
    result: Result


def run_sets(options: argparse.Namespace, names: list[str]) -> tuple[list[SetResult], Values]:
    """Evaluates weights on sets; those whose data are missing are left out with a line.

    Args:
        options: options of the command line.
        names: names of the sets; ``real`` stands for the recorded sets, each and pooled.

    Returns:
        The results, and reasons for sets that were left out, by name.

    Raises:
        TinyBevError: the weights or the data of a set are broken.
    """
    results: list[SetResult] = []
    left_out: Values = {}
    stages = _STAGES[options.second_stage] if has_second_stage(options.weights) else (None,)
    min_scores = load_min_scores(options.weights)
    asked = {*names, *(RECORDED if REAL in names else ())}
    data = Path(options.data) if options.data else None
    for name in (name for name in (*SIMULATED, *RECORDED) if name in asked):
        try:
            for stage in stages:
                frames = open_set(name, options.frames, options.lidar, data)
                if frames.remark and stage is stages[0]:
                    print(f'evaluate: {frames.remark}', file=sys.stderr)
                detector = build_evaluation_detector(
                    options.weights, frames.ahead, stage is not False, options.exported_network
                )
                result = evaluate(detector, frames.frames, frames.length, min_scores, name)
                results.append(SetResult(name, stage, result))
                print(f'evaluate: {name}: {frames.length} frames evaluated', file=sys.stderr)
        except MissingDataError as error:
            left_out[name] = str(error)
            print(f'evaluate: {name} left out: {error}', file=sys.stderr)
    if REAL in names:
        results += [pool for stage in stages if (pool := _pool_recorded(results, stage))]
    return results, left_out


def _pool_recorded(results: list[SetResult], stage: bool | None) -> SetResult | None:
    """Returns the recorded sets as one; None where there is no detection in any."""
    found = [
        each.result
        for each in results
        if each.second_stage is stage and each.name in RECORDED and each.result.score.rankings
    ]
    if not found:
        return None
    score = Score.pooled([result.score for result in found], VISIBLE)
    return SetResult(REAL, stage, Result(score, [ms for each in found for ms in each.times]))


def as_json(options: argparse.Namespace, results: list[SetResult], left_out: Values) -> Values:
    """Converts an evaluation to values that JSON takes; see docs/training.md."""
    return {
        'weights': Path(options.weights).name,
        'sha256': file_sha256(find_weights(options.weights)),
        'date': datetime.date.today().isoformat(),
        'exported_network': _digests(options.exported_network),
        'threads': torch.get_num_threads(),
        'confidence': CONFIDENCE,
        'resamples': RESAMPLES,
        'results': [
            {
                'set': name,
                'title': title_of(name, options.lidar),
                'second_stage': stage,
                **score_values(result.score, result.times),
            }
            for name, stage, result in results
        ],
        'left_out': left_out,
    }


def _digests(exported_network: str) -> dict[str, str]:
    """Returns the SHA-256 of the files of an exported network, by name; empty without one."""
    files = exported_files(Path(exported_network)) if exported_network else []
    return {file.name: file_sha256(file) for file in files}


def _draw(folder: Path, results: list[SetResult]) -> None:
    """Writes figures: of one set into the folder, of several into a folder for each."""
    drawn = [each for each in results if each.result.worst]
    for name, stage, result in drawn:
        part = name if stage is not False else f'{name}_without_second_stage'
        target = folder / part if len(results) > 1 else folder
        target.mkdir(parents=True, exist_ok=True)
        assert result.grid is not None
        draw_precision_recall(result.score, target / 'precision_recall.png')
        draw_worst_frames(result.worst, result.grid, target / 'worst.png')
        print(f'written: {target}/precision_recall.png and worst.png')


@reports_errors('evaluate')
def main() -> int:
    """Runs the evaluate executable; returns its exit code."""
    options = _parser().parse_args()
    if options.calibrate:
        if options.exported_network:
            raise TinyBevError(
                f'--exported-network is {options.exported_network} with --calibrate; expected one '
                'of the two, as scores are fitted before the export'
            )
        lines = calibrate(
            options.weights, options.calibrate, options.frames or _CALIBRATION_FRAMES
        )
        print('\n'.join([*lines, f'written: {options.calibrate}']))
        return 0
    names = parse_names(options.sets or ('kitti' if options.data else 'sim'))
    options.data = options.data or os.environ.get('TINY_BEV_DATA', '')
    options.frames = options.frames or _FRAMES
    results, left_out = run_sets(options, names)
    if not results:
        raise TinyBevError(f'no set of {", ".join(names)} was evaluated; expected one or more')
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = as_json(options, results, left_out)
    (folder / 'evaluation.json').write_text(json.dumps(evaluation, indent=1))
    print(report(evaluation))
    print(f'\nwritten: {folder}/evaluation.json')
    _draw(folder, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='evaluate', description=__doc__)
    add = parser.add_argument
    add('--weights', required=True, help='name of shipped weights, or a file of train')
    add('--sets', help=f'all, or some of {", ".join(NAMES)}, comma-separated (default: sim)')
    add(
        '--data',
        help='folder with the data of recorded sets (default: $TINY_BEV_DATA; without it they are '
        "left out), or one in KITTI's form, which then is the default of --sets",
    )
    add(
        '--frames', type=whole_number(1), help=f'frames of each simulated set (default: {_FRAMES})'
    )
    add(
        '--lidar',
        default='vlp32',
        choices=list(LIDARS),
        help='sensor of simulated sets without one of their own (default: vlp32)',
    )
    add(
        '--second-stage',
        default='on',
        choices=list(_STAGES),
        help='use of the second stage, for weights that have one (default: on)',
    )
    add(
        '--exported-network',
        default='',
        metavar='FILE',
        help='exported network, a file of export for these weights, that runs in place of the '
        'backbone, or of backbone and heads: .onnx in ONNX Runtime, .xml in OpenVINO',
    )
    add('--output', default='build/evaluate', help='folder of JSON and figures')
    add(
        '--calibrate',
        metavar='FILE',
        help='instead: fit the scores on other simulated streets, and write the weights with '
        f'the fit to FILE (--frames: {_CALIBRATION_FRAMES} by default)',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
