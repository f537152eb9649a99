# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fits the calibration of scores on simulated streets, and writes it into a weight file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import load_weights, save_weights
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.evaluation import EvalFrame, simulated_eval_frame
from tiny_bev_ros.training.evaluation_run import (
    build_evaluation_detector,
    evaluate,
    evaluation_min_scores,
)
from tiny_bev_ros.training.reliability import calibration_error, fit_logistic
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame

# Seeds of the streets begin here: those of evaluation begin at 0, of training at 1,000,000.
FIRST_SEED = 500_000
# Sensors that are left for evaluation.
_UNUSED_LIDARS = ('vlp32', 'pandar64')
# Distance of scores from 0 and 1, beyond which float32 has no logits.
_MARGIN = 1e-6


def calibrate(weights: str | Path, output: str | Path, streets: int) -> list[str]:
    """Fits scale and bias of each class, and writes the weights with them.

    A score of p then means that the fraction p of such detections is right: their BEV IoU with an
    object is 0.5 or more for vehicles, 0.25 or more for other classes. The last head that
    scores is calibrated: the second stage where the weights have one, else the detection head.
    Everything else in the file stays as it is.

    Args:
        weights: name of shipped weights, or a file of train.
        output: path of the weights that are written.
        streets: number of simulated streets, each with a sensor that is drawn from those with
            a field of view of 360 degrees on cars, but for those of evaluation.

    Returns:
        A line for each class: scale, bias, and calibration error before and after.

    Raises:
        TinyBevError: the network detects no objects, or a class has too few detections.
    """
    network, metadata = load_weights(find_weights(weights))
    heads = [name for name in ('refinement', 'detection') if name in network.heads]
    if not heads:
        raise TinyBevError(f'{weights} has no detection head; expected one')
    calibration = cast(ScoreCalibration, network.heads[heads[0]].calibration)
    detector = build_evaluation_detector(weights)
    frames = evaluate(detector, _frames(streets), streets, evaluation_min_scores(network))
    lines, hits = [], frames.score.hits()
    for label, kind in enumerate(CLASSES):
        scores, is_true = hits[kind]
        clipped = np.clip(scores.astype(np.float64), _MARGIN, 1 - _MARGIN)
        logits = np.log(clipped / (1 - clipped))
        scale, bias = fit_logistic(logits, is_true, kind)
        fitted = 1 / (1 + np.exp(-(scale * logits + bias)))
        # Scores of the file are calibrated already: the fit follows its calibration.
        calibration.scale[label] *= scale
        calibration.bias[label] = scale * calibration.bias[label] + bias
        lines.append(
            f'{kind}: score = sigmoid({calibration.scale[label]:.3f} * logit '
            f'{calibration.bias[label]:+.3f}), calibration error '
            f'{calibration_error(scores, is_true):.3f} -> {calibration_error(fitted, is_true):.3f}'
            f' ({int(is_true.sum())} of {len(scores)} detections right)'
        )
    record = {'head': heads[0], 'streets': streets, 'first_seed': FIRST_SEED}
    origin = {**metadata.origin, 'calibration': record}
    save_weights(output, network, replace(metadata, origin=origin))
    return lines


def _frames(streets: int) -> Iterator[EvalFrame]:
    lidars = tuple(
        name
        for name, lidar in LIDARS.items()
        if lidar.around
        and lidar.heights[0] <= NOMINAL_HEIGHT <= lidar.heights[1]
        and name not in _UNUSED_LIDARS
    )
    for seed in range(FIRST_SEED, FIRST_SEED + streets):
        yield simulated_eval_frame(str(seed), simulate_lidar_frame(seed, lidars))
