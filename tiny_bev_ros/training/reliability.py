# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Agreement of scores with the fraction of detections that are right, and its fit."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.errors import TinyBevError

BINS = 10
# Lowest score of the detections that are evaluated, and that count for the calibration error.
MIN_SCORE = 0.05
# Fewest detections of either kind, right and wrong, for a fit.
MIN_DETECTIONS = 20
# Smallest fitted scale: scores must rise with logits.
_MIN_SCALE = 0.05
_ITERATIONS = 50


def calibration_error(scores: np.ndarray, is_true: np.ndarray) -> float:
    """Computes the expected calibration error (Naeini et al., AAAI 2015).

    Mean, over ten bins of equal width from a score of 0.05 to 1, of the difference between mean
    score and fraction of true positives, weighted by the number of detections in the bin.

    Args:
        scores: (N,) scores of detections; those below 0.05 are left out.
        is_true: (N,) bool, true for true positives.

    Returns:
        A value from 0 to 1; NaN without detections.
    """
    kept = scores >= MIN_SCORE
    scores, is_true = scores[kept], is_true[kept]
    if not len(scores):
        return float('nan')
    edges = np.linspace(MIN_SCORE, 1, BINS + 1)
    index = np.clip(np.searchsorted(edges, scores, side='right') - 1, 0, BINS - 1)
    sums = np.bincount(index, scores - is_true, BINS)
    return float(np.abs(sums).sum() / len(scores))


def fit_logistic(logits: np.ndarray, is_true: np.ndarray, name: str) -> tuple[float, float]:
    """Fits scale and bias so that sigmoid(scale * logit + bias) is the probability of true.

    Maximises the likelihood by Newton's method (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999).

    Args:
        logits: (N,) finite logits.
        is_true: (N,) bool.
        name: name of the class, for messages.

    Returns:
        Scale and bias.

    Raises:
        TinyBevError: there are too few detections of either kind, or the logits do not tell right
            from wrong ones.
    """
    right, wrong = int(is_true.sum()), int((~is_true).sum())
    if min(right, wrong) < MIN_DETECTIONS:
        raise TinyBevError(
            f'{name} has {right} right and {wrong} wrong detections; expected {MIN_DETECTIONS} of '
            'each or more, from more streets'
        )
    features = np.stack([logits.astype(np.float64), np.ones(len(logits))], 1)
    parameters = np.array([1.0, np.log(right / wrong) - logits.mean()])
    for _ in range(_ITERATIONS):
        step = _newton_step(features, is_true, parameters)
        # A long step may overshoot where all probabilities are near 0 or 1.
        parameters = parameters + step * min(1.0, 2 / np.abs(step).max().clip(1e-12))
        if np.abs(step).max() < 1e-9:
            break
    scale, bias = parameters.tolist()
    if not scale >= _MIN_SCALE:
        raise TinyBevError(
            f'{name} has a scale of {scale:.3g}; expected {_MIN_SCALE} or more, as right '
            'detections have higher scores than wrong ones'
        )
    return scale, bias


def _newton_step(features: np.ndarray, is_true: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Returns the step from parameters (2,) to the maximum of the likelihood's parabola."""
    probability = 1 / (1 + np.exp(-(features @ parameters)))
    weight = np.maximum(probability * (1 - probability), 1e-9)
    curvature = (features * weight[:, None]).T @ features
    step: np.ndarray = np.linalg.solve(curvature, features.T @ (is_true - probability))
    return step
