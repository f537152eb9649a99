# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Results of an evaluation as values for JSON, and as Markdown tables.

Tables are made of the JSON alone, so that they can be made again from its file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tiny_bev_ros.training.bootstrap import draw_frames, interval
from tiny_bev_ros.training.evaluation import MIN_IOUS, Score
from tiny_bev_ros.training.reliability import calibration_error

# Set of objects in tables of all sets.
VISIBLE = 'visible'
_VIEWS = {'bev': 'BEV', '3d': '3D'}
_COLUMNS = tuple((view, min_iou) for view in _VIEWS for min_iou in MIN_IOUS)
Values = dict[str, Any]


def score_values(score: Score, times: list[float]) -> Values:
    """Converts a score to values that JSON takes, with intervals by bootstrap over frames.

    Args:
        score: accuracy over all frames.
        times: time for each frame, in ms.
    """
    values: Values = {'frames': len(times), 'median_ms': float(np.median(times))}
    if score.areas:
        areas = np.array(score.areas)
        both, either = (draw_frames(len(areas)) @ areas).T
        resampled = both / np.where(either, either, np.nan)
        values['drivable_iou'] = _with_interval(score.drivable_iou, resampled)
    if score.rankings:
        values['calibration_error'] = _calibration_errors(score)
        counts = draw_frames(score.frames)
        values['average_precision'] = [
            {
                'objects': level,
                'class': kind,
                'view': view,
                'min_iou': min_iou,
                'number': ranking.positives,
                **_with_interval(ranking.average_precision(), ranking.resampled_precision(counts)),
            }
            for (level, kind, view, min_iou), ranking in score.rankings.items()
        ]
    return values


def _with_interval(value: float, resampled: np.ndarray) -> Values:
    """Returns a value with its interval; None where it is unknown."""
    low, high = interval(resampled) or (None, None)
    return {'value': None if np.isnan(value) else value, 'low': low, 'high': high}


def _calibration_errors(score: Score) -> dict[str, float | None]:
    """Returns the calibration error of each class, and of all detections as ``all``."""
    hits = score.hits()
    scores, is_true = (np.concatenate(each) for each in zip(*hits.values(), strict=True))
    errors = {'all': calibration_error(scores, is_true)}
    errors |= {kind: calibration_error(*each) for kind, each in hits.items()}
    return {kind: None if np.isnan(error) else error for kind, error in errors.items()}


def accuracy_table(results: list[Values], objects: str = '') -> str:
    """Renders the average precision of each set, set of objects and class, with intervals.

    Args:
        results: entries of ``results`` of an evaluation.
        objects: the only set of objects; '' for all of them.
    """
    names = [f'{_VIEWS[view]} {min_iou}' for view, min_iou in _COLUMNS]
    lines = [_row('set', 'objects', 'class', 'number', *names), '|---' * (4 + len(names)) + '|']
    for result in results:
        rows: dict[tuple[str, str], list[str]] = {}
        for row in result.get('average_precision', []):
            if row['number'] and (not objects or row['objects'] == objects):
                key = (row['objects'], row['class'])
                rows.setdefault(key, [str(row['number'])]).append(as_text(row))
        lines += [_row(_name(result), *key, *cells) for key, cells in rows.items()]
    return '\n'.join(lines)


def summary_table(results: list[Values], times: bool = True) -> str:
    """Renders frames, drivable area and calibration error of each set.

    Args:
        results: entries of ``results`` of an evaluation.
        times: true for a column with the median time of a frame, in ms.
    """
    names = ['set', 'description', 'frames', 'drivable area: IoU', 'calibration error']
    names += ['ms'] * times
    lines = [_row(*names), '|---' * len(names) + '|']
    for result in results:
        area = as_text(result['drivable_iou']) if 'drivable_iou' in result else ''
        error = result.get('calibration_error', {}).get('all')
        cells = [str(result['frames']), area, '' if error is None else f'{error:.3f}']
        cells += [f'{result["median_ms"]:.1f}'] * times
        lines.append(_row(_name(result), result['title'], *cells))
    return '\n'.join(lines)


def as_text(figure: Values) -> str:
    """Renders a figure with its interval, such as 0.879 (0.85-0.90)."""
    if figure['value'] is None:
        return '-'
    if figure['low'] is None:
        return f'{figure["value"]:.3f}'
    return f'{figure["value"]:.3f} ({figure["low"]:.2f}-{figure["high"]:.2f})'


def report(evaluation: Values) -> str:
    """Writes an evaluation as Markdown: tables, and the lines around them."""
    percent = f'{evaluation["confidence"]:.0%}'
    lines = [
        f'In brackets: {percent} intervals by bootstrap over frames '
        f'({evaluation["resamples"]} resamples).',
        '',
        summary_table(evaluation['results']),
    ]
    accuracy = accuracy_table(evaluation['results'])
    if accuracy.count('\n') > 1:
        lines += ['', 'Average precision:', '', accuracy]
    lines += [f'\n{name} left out: {reason}.' for name, reason in evaluation['left_out'].items()]
    return '\n'.join(lines)


def second_stage_table(results: list[Values]) -> str:
    """Renders the average precision of each set and class with, and without the second stage.

    '' where there is no set with both.
    """
    figures: dict[tuple[str, str, str, float], dict[bool, str]] = {}
    for result in results:
        for row in result.get('average_precision', []):
            if row['objects'] == VISIBLE and row['number']:
                key = (result['set'], row['class'], row['view'], row['min_iou'])
                figures.setdefault(key, {})[result['second_stage']] = f'{row["value"]:.3f}'
    sets = {key[:2]: None for key, both in figures.items() if len(both) == 2}
    if not sets:
        return ''
    names = [f'{_VIEWS[view]} {min_iou}' for view, min_iou in _COLUMNS]
    lines = [_row('set', 'class', *names), '|---' * (2 + len(names)) + '|']
    for each in sets:
        pairs = [figures[each + column] for column in _COLUMNS]
        lines.append(_row(*each, *(f'{pair[True]}, {pair[False]}' for pair in pairs)))
    return '\n'.join(lines)


def _name(result: Values) -> str:
    first_alone = result.get('second_stage') is False
    return f'{result["set"]}, without second stage' if first_alone else result['set']


def _row(*cells: str) -> str:
    return '| ' + ' | '.join(cells) + ' |'
