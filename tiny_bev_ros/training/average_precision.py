# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Average precision of detections against labels.

Computed over 40 recalls from 1/40 to 1, as in KITTI's benchmark since 2019 (Simonelli et al.,
"Disentangling Monocular 3D Object Detection", ICCV 2019): mean over these recalls of the best
precision at the recall or a higher one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

_RECALLS = np.arange(1, 41) / 40


@dataclass
class Ranking:
    """Detections of one class in all frames, as true and false positives."""

    _positives: list[int] = field(default_factory=list)
    _scores: list[np.ndarray] = field(default_factory=list)
    _is_true: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        scores: np.ndarray,
        iou: np.ndarray,
        required: np.ndarray,
        min_iou: float,
        dont_care: np.ndarray,
    ) -> np.ndarray:
        """Adds one frame.

        In the order of falling scores, each detection is matched to the unmatched object that it
        overlaps most. A detection is left out if its object is not required, or if it matches
        none and ``dont_care`` is true for it.

        Args:
            scores: (N,) scores of the detections.
            iou: (N,M) IoU of detections and labelled objects.
            required: (M,) bool, true for objects that have to be detected; detections of the
                others are left out.
            min_iou: smallest IoU at which a detection matches an object.
            dont_care: (N,) bool, true for detections that are left out if they match no object.

        Returns:
            (N,) int: 1 for true positives, 0 for false positives, -1 for left out.
        """
        outcome = np.zeros(len(scores), np.int64)
        free = np.ones(iou.shape[1], np.bool_)
        for index in np.argsort(-scores, kind='stable'):
            # Required objects precede the others.
            overlap = np.where(free & (iou[index] >= min_iou), iou[index] + required, -1.0)
            best = int(overlap.argmax()) if len(overlap) else -1
            if best >= 0 and overlap[best] > 0:
                free[best] = False
                outcome[index] = 1 if required[best] else -1
            elif dont_care[index]:
                outcome[index] = -1
        self._positives.append(int(required.sum()))
        self._scores.append(scores[outcome >= 0])
        self._is_true.append(outcome[outcome >= 0] == 1)
        return outcome

    @classmethod
    def pooled(cls, rankings: Iterable[Ranking]) -> Ranking:
        """Returns the detections of several rankings as one, frames after frames."""
        pooled = cls()
        for ranking in rankings:
            pooled._positives += ranking._positives
            pooled._scores += ranking._scores
            pooled._is_true += ranking._is_true
        return pooled

    @property
    def positives(self) -> int:
        """Number of objects that have to be detected."""
        return sum(self._positives)

    def detections(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores (N,) and (N,) bool, true for true positives, in the order of frames."""
        scores = np.concatenate([np.empty(0), *self._scores])
        return scores, np.concatenate([np.empty(0, np.bool_), *self._is_true])

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns score, recall and precision after each detection, best first."""
        scores, right = self.detections()
        order = np.argsort(-scores, kind='stable')
        hits = np.cumsum(right[order])
        precision = hits / np.arange(1, len(hits) + 1)
        return scores[order], hits / max(self.positives, 1), precision

    def average_precision(self) -> float:
        """Returns a value from 0 to 1; NaN if no object had to be detected."""
        if not self.positives:
            return float('nan')
        _, recall, precision = self.curve()
        return _mean_precision(recall, precision)

    def resampled_precision(self, counts: np.ndarray) -> np.ndarray:
        """Computes the average precision of resamples of the frames.

        A frame that is drawn n times counts as n equal frames.

        Args:
            counts: (R,F) int, number of times each of the F frames is drawn for each resample.

        Returns:
            (R,) float64; NaN for resamples in which no object has to be detected.
        """
        scores, right = self.detections()
        frame = np.repeat(np.arange(len(self._scores)), [len(each) for each in self._scores])
        order = np.argsort(-scores, kind='stable')
        frame, right = frame[order], right[order]
        positives = counts @ np.array(self._positives, np.int64)
        values = np.full(len(counts), np.nan)
        for index in np.nonzero(positives)[0]:
            drawn = counts[index][frame]
            hits, total = np.cumsum(drawn * right), np.cumsum(drawn)
            recall, precision = hits / positives[index], hits / np.maximum(total, 1)
            values[index] = _mean_precision(recall, precision)
        return values


def _mean_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Returns the mean, over the recalls, of the best precision at each or a higher one."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # A recall of k/40 is reached by k of 40 objects, whichever way the quotient is rounded.
    first = np.searchsorted(recall, _RECALLS - 1e-9)
    return float(np.append(best, 0.0)[np.minimum(first, len(best))].mean())
