# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Report on an adaptation: detections in the recording before and after."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.training.fused_detections import FusedDetections, match
from tiny_bev_ros.training.pseudo_labels import LabelledRun, is_label

# Least score of the objects that are counted, and edges of the histogram of scores.
COUNTED = 0.3
_EDGES = (0.05, 0.3, 0.5, 0.7, 1.0)
_ROWS = {
    'objects': 'objects per cloud, score from 0.3',
    'labels': 'of these: labels for training, per cloud',
    'flips': 'fraction of flips that find an object',
    'recurs': 'fraction that recurs in neighbouring clouds',
}


@dataclass(frozen=True)
class AdaptationReport:
    """Figures of an adaptation.

    Attributes:
        values: number of clouds, and for each class the figures before and after, and numbers of
            objects that were kept, are new or are gone, per cloud.
    """

    values: dict[str, Any]

    def markdown(self) -> str:
        """Returns the figures as a table."""
        lines = [
            f'{self.values["clouds"]} clouds; before -> after:',
            '',
            '| | ' + ' | '.join(CLASSES) + ' |',
            '|---' * (1 + len(CLASSES)) + '|',
        ]
        classes = [self.values[name] for name in CLASSES]
        for key, text in _ROWS.items():
            lines.append(
                _row(text, [(each['before'][key], each['after'][key]) for each in classes])
            )
        for index, (low, high) in enumerate(itertools.pairwise(_EDGES)):
            pairs = [
                (each['before']['histogram'][index], each['after']['histogram'][index])
                for each in classes
            ]
            lines.append(_row(f'objects per cloud, score {low} to {high}', pairs))
        for key in ('kept', 'new', 'gone'):
            cells = ' | '.join(f'{each[key]:.2f}' for each in classes)
            lines.append(f'| objects per cloud, {key} | {cells} |')
        return '\n'.join(lines)


def _row(text: str, pairs: Sequence[tuple[float | None, float | None]]) -> str:
    cells = [' -> '.join('-' if v is None else f'{v:.2f}' for v in pair) for pair in pairs]
    return f'| {text} | ' + ' | '.join(cells) + ' |'


def compare(before: Sequence[LabelledRun], after: Sequence[LabelledRun]) -> AdaptationReport:
    """Compares the detections of two networks in the same clouds."""
    old, new = ([each for run in runs for each in run.detections] for runs in (before, after))
    values: dict[str, Any] = {'clouds': len(old), 'least_score': COUNTED, 'edges': _EDGES}
    for label, name in enumerate(CLASSES):
        pairs = [
            (_select(first, label, COUNTED), _select(second, label, COUNTED))
            for first, second in zip(old, new, strict=True)
        ]
        kept = sum(int((match(first, second) >= 0).sum()) for first, second in pairs)
        total = max(len(old), 1)
        values[name] = {
            'before': _figures(before, label),
            'after': _figures(after, label),
            'kept': kept / total,
            'gone': (sum(len(first.scores) for first, _ in pairs) - kept) / total,
            'new': (sum(len(second.scores) for _, second in pairs) - kept) / total,
        }
    return AdaptationReport(values)


def _figures(runs: Sequence[LabelledRun], label: int) -> dict[str, Any]:
    """Returns the figures of one class; None for fractions of nothing."""
    total, labels = 0, 0
    scores: list[np.ndarray] = []
    agreement: list[np.ndarray] = []
    recurs: list[np.ndarray] = []
    for run in runs:
        for found, recur in zip(run.detections, run.recurs, strict=True):
            total += 1
            own = found.labels == label
            counted = own & (found.scores >= COUNTED)
            labels += int((is_label(found, recur) & own).sum())
            scores.append(found.scores[own])
            agreement.append(found.agreement[counted])
            if len(run.detections) > 1:
                recurs.append(recur[counted])
    every = np.concatenate([np.empty(0), *scores])
    histogram = np.histogram(every, _EDGES)[0] / max(total, 1)
    return {
        'objects': float((every >= COUNTED).sum() / max(total, 1)),
        'labels': labels / max(total, 1),
        'flips': _mean(agreement),
        'recurs': _mean(recurs),
        'histogram': histogram.tolist(),
    }


def _mean(values: Sequence[np.ndarray]) -> float | None:
    every = np.concatenate([np.empty(0), *values])
    return float(every.mean()) if len(every) else None


def _select(found: FusedDetections, label: int, score: float) -> FusedDetections:
    own = (found.labels == label) & (found.scores >= score)
    return FusedDetections(
        found.boxes[own], found.scores[own], found.labels[own], found.agreement[own]
    )
