# SPDX-License-Identifier: Apache-2.0
"""Average precision of detections against labels.

Computed over 40 recalls from 1/40 to 1, as in KITTI's benchmark since 2019 (Simonelli et al.,
"Disentangling Monocular 3D Object Detection", ICCV 2019): mean of the best precision at each
recall or a higher one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_RECALLS = np.arange(1, 41) / 40


@dataclass
class Ranking:
    """Detections of one class in all frames, right and wrong ones.

    Attributes:
        positives: number of objects that have to be detected.
    """

    positives: int = 0
    _scores: list[np.ndarray] = field(default_factory=list)
    _right: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        scores: np.ndarray,
        iou: np.ndarray,
        counts: np.ndarray,
        min_iou: float,
        excused: np.ndarray,
    ) -> np.ndarray:
        """Adds one frame.

        In the order of falling scores, each detection is matched to the free object that it
        overlaps most. It is left out if that object does not count, or if it matches none and
        is excused.

        Args:
            scores: (N,) scores of the detections.
            iou: (N,M) IoU of detections and labelled objects.
            counts: (M,) bool, true for objects that have to be detected; the others are left
                open.
            min_iou: smallest IoU at which a detection matches an object.
            excused: (N,) bool, true for detections that are not wrong if they match none.

        Returns:
            (N,) int: 1 for right, 0 for wrong, -1 for left out.
        """
        outcome = np.zeros(len(scores), np.int64)
        free = np.ones(iou.shape[1], np.bool_)
        for index in np.argsort(-scores, kind='stable'):
            # An object that counts goes before one that does not.
            overlap = np.where(free & (iou[index] >= min_iou), iou[index] + counts, -1.0)
            best = int(overlap.argmax()) if len(overlap) else -1
            if best >= 0 and overlap[best] > 0:
                free[best] = False
                outcome[index] = 1 if counts[best] else -1
            elif excused[index]:
                outcome[index] = -1
        self.positives += int(counts.sum())
        self._scores.append(scores[outcome >= 0])
        self._right.append(outcome[outcome >= 0] == 1)
        return outcome

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns score, recall and precision after each detection, best first."""
        scores = np.concatenate([np.empty(0), *self._scores])
        right = np.concatenate([np.empty(0, np.bool_), *self._right])
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
