# SPDX-License-Identifier: Apache-2.0
"""Pictures of an evaluation: precision over recall, and the frames with most mistakes."""

from __future__ import annotations

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

_MISSED, _LABELLED, _ROAD = 'yellow', 'white', (0.2, 0.75, 0.35)


def draw_curves(score: Score, path: Path) -> None:
    """Writes a PNG: precision over recall of each class, for each overlap, seen from above."""
    figure = Figure(figsize=(12, 4), layout='constrained')
    level = next(iter(score.rankings))[0]
    for axes, kind in zip(figure.subplots(1, len(CLASSES), sharey=True), CLASSES, strict=True):
        for least in MIN_IOUS:
            ranking = score.rankings[level, kind, 'bev', least]
            _, recall, precision = ranking.curve()
            label = f'IoU {least}: AP {ranking.average_precision():.2f}'
            axes.plot(recall, precision, label=label)
        axes.set(title=f'{kind} ({ranking.positives})', xlabel='recall')
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc='lower left')
        axes.label_outer()
    figure.savefig(path, dpi=100)


def draw_worst(
    worst: list[tuple[EvalFrame, HeadOutputs, np.ndarray]], grid: BevGrid, path: Path
) -> None:
    """Writes a PNG: clouds with what was found, what was labelled, and what was missed.

    Args:
        worst: frames, what the network sees in them, and (M,7) boxes that it missed.
        grid: of the features.
        path: of the PNG.
    """
    figure = Figure(figsize=(6 * len(worst), 6.6), layout='constrained')
    panels = np.atleast_1d(figure.subplots(1, len(worst)))
    for panel, (exam, seen, missed) in zip(panels, worst, strict=True):
        _draw(panel, exam, seen, missed, grid)
    figure.suptitle('white: labelled, yellow: missed, in colours: found; green: drivable')
    figure.savefig(path, dpi=70)


def _draw(
    panel: Axes, exam: EvalFrame, seen: HeadOutputs, missed: np.ndarray, grid: BevGrid
) -> None:
    points = exam.frame.points
    (x_low, x_high), (y_low, y_high) = grid.x_range, grid.y_range
    if seen.drivable is not None:
        tint = np.zeros((*seen.drivable.shape, 4))
        tint[..., :3], tint[..., 3] = _ROAD, 0.45 * (seen.drivable.numpy() >= 0.5)
        extent = (y_high, y_low, x_low, x_high)
        panel.imshow(tint.transpose(1, 0, 2)[::-1, ::-1], extent=extent, interpolation='nearest')
    panel.scatter(points[:, 1], points[:, 0], s=0.3, c=points[:, 2].clip(-2.5, 1), linewidths=0)
    truths = np.concatenate([truth.boxes[truth.counts] for truth in exam.truths['seen']])
    _outline(panel, truths, [_LABELLED] * len(truths), 2.0)
    _outline(panel, missed, [_MISSED] * len(missed), 2.0)
    if seen.detections is not None:
        colours = [CLASS_COLOURS[CLASSES[label]] for label in seen.detections.labels.tolist()]
        _outline(panel, seen.detections.boxes.numpy(), colours, 1.2)
    panel.set(xlim=(y_high, y_low), ylim=(x_low, x_high), aspect='equal', title=exam.name)
    panel.set(facecolor='#111111', xticks=[], yticks=[])


def _outline(panel: Axes, boxes: np.ndarray, colours: list, width: float) -> None:
    corners = corners_bev(torch.from_numpy(boxes.reshape(-1, 7))).numpy()
    lines = LineCollection(list(corners[:, [0, 1, 2, 3, 0], ::-1]), colors=colours)
    lines.set_linewidth(width)
    panel.add_collection(lines)
