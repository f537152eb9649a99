# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Figures of training and evaluation: losses, precision over recall, frames with most errors."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.training.evaluation import MIN_IOUS, EvalFrame, Score

# Columns of the log that are no losses.
_NOT_LOSSES = ('step', 'rate', 'seconds')
_MISSED, _LABELLED, _ROAD = 'yellow', 'white', (0.2, 0.75, 0.35)


def draw_losses(log: Path, path: Path) -> None:
    """Writes a PNG with each loss and the learning rate over the steps.

    Args:
        log: log.csv of a run.
        path: path of the PNG.
    """
    with log.open(newline='') as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    steps = [row['step'] for row in rows]
    figure = Figure(figsize=(10, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for name in rows[0] if rows else ():
        if name not in _NOT_LOSSES:
            left.plot(steps, [row[name] for row in rows], label=name, linewidth=0.8)
    left.set(xlabel='step', ylabel='loss', yscale='log')
    left.grid(alpha=0.3)
    left.legend()
    right.plot(steps, [row['rate'] for row in rows], color='black')
    right.set(xlabel='step', ylabel='learning rate')
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def draw_precision_recall(score: Score, path: Path) -> None:
    """Writes a PNG: precision over recall for each class and BEV IoU."""
    figure = Figure(figsize=(12, 4), layout='constrained')
    level = next(iter(score.rankings))[0]
    for axes, kind in zip(figure.subplots(1, len(CLASSES), sharey=True), CLASSES, strict=True):
        for min_iou in MIN_IOUS:
            ranking = score.rankings[level, kind, 'bev', min_iou]
            _, recall, precision = ranking.curve()
            label = f'IoU {min_iou}: AP {ranking.average_precision():.2f}'
            axes.plot(recall, precision, label=label)
        axes.set(title=f'{kind} ({ranking.positives})', xlabel='recall')
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc='lower left')
        axes.label_outer()
    figure.savefig(path, dpi=100)


def draw_worst_frames(
    worst: list[tuple[EvalFrame, HeadOutputs, np.ndarray]], grid: BevGrid, path: Path
) -> None:
    """Writes a PNG: clouds with the predicted, the labelled and the missed objects.

    Args:
        worst: frames, the predictions for them, and (M,7) boxes that were missed.
        grid: grid of the BEV features.
        path: path of the PNG.
    """
    figure = Figure(figsize=(6 * len(worst), 6.6), layout='constrained')
    panels = np.atleast_1d(figure.subplots(1, len(worst)))
    for panel, (frame, outputs, missed) in zip(panels, worst, strict=True):
        _draw_frame(panel, frame, outputs, missed, grid)
    figure.suptitle('white: labelled, yellow: missed, in colours: predicted; green: drivable')
    figure.savefig(path, dpi=70)


def _draw_frame(
    panel: Axes, frame: EvalFrame, outputs: HeadOutputs, missed: np.ndarray, grid: BevGrid
) -> None:
    points = frame.lidar.points
    (x_low, x_high), (y_low, y_high) = grid.x_range, grid.y_range
    if outputs.drivable is not None:
        tint = np.zeros((*outputs.drivable.shape, 4))
        tint[..., :3], tint[..., 3] = _ROAD, 0.45 * (outputs.drivable.numpy() >= 0.5)
        extent = (y_high, y_low, x_low, x_high)
        panel.imshow(tint.transpose(1, 0, 2)[::-1, ::-1], extent=extent, interpolation='nearest')
    panel.scatter(points[:, 1], points[:, 0], s=0.3, c=points[:, 2].clip(-2.5, 1), linewidths=0)
    truths = np.concatenate([truth.boxes[truth.required] for truth in frame.truths['visible']])
    _draw_boxes(panel, truths, [_LABELLED] * len(truths), 2.0)
    _draw_boxes(panel, missed, [_MISSED] * len(missed), 2.0)
    if outputs.detections is not None:
        colours = [CLASS_COLOURS[CLASSES[label]] for label in outputs.detections.labels.tolist()]
        _draw_boxes(panel, outputs.detections.boxes.numpy(), colours, 1.2)
    panel.set(xlim=(y_high, y_low), ylim=(x_low, x_high), aspect='equal', title=frame.name)
    panel.set(facecolor='#111111', xticks=[], yticks=[])


def _draw_boxes(panel: Axes, boxes: np.ndarray, colours: list, width: float) -> None:
    corners = corners_bev(torch.from_numpy(boxes.reshape(-1, 7))).numpy()
    lines = LineCollection(list(corners[:, [0, 1, 2, 3, 0], ::-1]), colors=colours)
    lines.set_linewidth(width)
    panel.add_collection(lines)
