# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs a detector on labelled frames and measures its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.models.heads.refinement import REFINEMENT
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.training.dataset import make_sample
from tiny_bev_ros.training.evaluation import EvalFrame, Score, count_errors
from tiny_bev_ros.training.reliability import MIN_SCORE

# Smallest score of the detections that count as errors, and number of frames that are drawn.
_LIKELY = 0.3
_WORST = 4
# Least reach of the map in metres, and number of cells of which its reach is a multiple.
_MIN_MAP = 51.0
_BLOCK = 8


def map_reach(weights: str | Path) -> float:
    """Returns the reach of the map for weights, in metres, a little above 50."""
    cell = read_metadata(find_weights(weights)).cell
    return math.ceil(_MIN_MAP / (_BLOCK * cell)) * _BLOCK * cell


def build_evaluation_detector(
    weights: str | Path,
    ahead: bool = False,
    second_stage: bool = True,
    exported_network: str | Path = '',
    precision: str = 'float32',
) -> Detector:
    """Builds a detector for one set, without a mounting estimate of other clouds.

    Args:
        weights: name of shipped weights, or a file of train.
        ahead: true for a map ahead of the sensor alone, to 50 m; false for one all around.
        second_stage: false to leave out the second stage of weights that have one.
        exported_network: file of `export` for these weights, see `Detector`; '' for none.
        precision: compute dtype, see `Detector`.
    """
    side = map_reach(weights)
    x_range, y_range = ((0.0, side), (-side / 2, side / 2)) if ahead else ((-side, side),) * 2
    return Detector(
        weights,
        x_range,
        y_range,
        precision=precision,
        refine_boxes=second_stage,
        exported_network=exported_network,
    )


def evaluation_min_scores(network: nn.Module) -> tuple[float, ...]:
    """Returns the least scores of detections that are evaluated, for each class.

    Scores of 0.05 before calibration, so that the calibration, which moves scores, changes
    neither the detections that are evaluated nor their average precision.
    """
    least = torch.full((len(CLASSES),), MIN_SCORE)
    logits = least.logit()[None, :, None]
    for module in network.modules():
        if isinstance(module, ScoreCalibration):
            least = torch.minimum(least, module(logits)[0, :, 0])
    return tuple(least.tolist())


@dataclass
class Result:
    """Result of an evaluation.

    Attributes:
        score: accuracy over all frames.
        times: time for each frame, in ms.
        worst: frames with most errors, the predictions for them, and (M,7) boxes of the objects
            that were missed.
        grid: grid of the BEV features; None for pooled results.
    """

    score: Score = field(default_factory=Score)
    times: list[float] = field(default_factory=list)
    worst: list[tuple[EvalFrame, HeadOutputs, np.ndarray]] = field(default_factory=list)
    grid: BevGrid | None = None


def evaluate(
    detector: Detector,
    frames: Iterable[EvalFrame],
    count: int,
    min_scores: Sequence[float] = (MIN_SCORE,) * len(CLASSES),
    name: str = '',
) -> Result:
    """Runs a detector on frames and measures its accuracy.

    Args:
        detector: the detector.
        frames: labelled frames.
        count: number of frames, for the progress bar.
        min_scores: least scores of detections that are evaluated, for each class; precision over
            recall ends there.
        name: name of the frames, for the progress bar.
    """
    result, kept = Result(grid=detector.feature_grid), []
    for frame in tqdm(frames, name or None, total=count, unit='frame', disable=None):
        output = detector(frame.lidar.points, min_scores)
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


def has_second_stage(weights: str | Path) -> bool:
    """Returns True for weights with a second stage."""
    return REFINEMENT in read_metadata(find_weights(weights)).network.get('heads', ())


def load_min_scores(weights: str | Path) -> tuple[float, ...]:
    """Returns `evaluation_min_scores` of weights."""
    return evaluation_min_scores(load_weights(find_weights(weights))[0])
