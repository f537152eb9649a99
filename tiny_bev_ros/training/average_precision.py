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

from dataclasses import dataclass, field

import numpy as np

_RECALLS = np.arange(1, 41) / 40


@dataclass
class Ranking:
    """Detections of one class in all frames, as true and false positives.

    Attributes:
        positives: number of objects that have to be detected.
    """

    positives: int = 0
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
        self.positives += int(required.sum())
        self._scores.append(scores[outcome >= 0])
        self._is_true.append(outcome[outcome >= 0] == 1)
        return outcome

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns score, recall and precision after each detection, best first."""
        scores = np.concatenate([np.empty(0), *self._scores])
        right = np.concatenate([np.empty(0, np.bool_), *self._is_true])
        order = np.argsort(-scores, kind='stable')
        hits = np.cumsum(right[order])
        precision = hits / np.arange(1, len(hits) + 1)
        return scores[order], hits / max(self.positives, 1), precision

    def average_precision(self) -> float:
        """Returns a value from 0 to 1; NaN if no object had to be detected."""
        if not self.positives:
            return float('nan')
        _, recall, precision = self.curve()
        best = np.maximum.accumulate(precision[::-1])[::-1]
        # A recall of k/40 is reached by k of 40 objects, whichever way the quotient is rounded.
        first = np.searchsorted(recall, _RECALLS - 1e-9)
        return float(np.append(best, 0.0)[np.minimum(first, len(best))].mean())
