# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Figure of the demo: a cloud from above with detections, beside the features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.messages.bev_image import render_bev_image
from tiny_bev_ros.messages.detections import DetectionBoxes
from tiny_bev_ros.messages.tensor import BevTensor
from tiny_bev_ros.models.heads.box_ops import corners_bev

_ROAD, _UNKNOWN = (0.2, 0.75, 0.35), (0.5, 0.5, 0.5)
_LABEL = 'white'


@dataclass(frozen=True)
class Overlay:
    """Detections and labels drawn over the cloud; None for those unknown.

    Attributes:
        objects: detected objects.
        area: (h,w) 0 for road surface to 100, -1 for unknown, on the grid of the features.
        labels: (N,7) labelled boxes.
    """

    objects: DetectionBoxes | None = None
    area: np.ndarray | None = None
    labels: np.ndarray | None = None


def draw(
    points: np.ndarray, features: BevTensor, title: str, path: Path, overlay: Overlay | None = None
) -> None:
    """Writes a PNG: points from above with detections, and the activation strength.

    Both panels show the grid's extent in metres, x (forward) up and y (left) to the left.

    Args:
        points: (N,4+) float32 x, y, z in metres.
        features: (1,C,H,W) features with axes in their labels.
        title: title of the figure.
        path: path of the PNG.
        overlay: detections and labels.
    """
    overlay = overlay or Overlay()
    x_axis, y_axis = features.labels.x_axis, features.labels.y_axis
    if x_axis is None or y_axis is None:
        raise ValueError('features have no axes; expected those of pipeline_node')
    rows, cols = features.array.shape[-2:]
    x_low, x_high = x_axis.origin, x_axis.origin + cols * x_axis.step
    y_low, y_high = y_axis.origin, y_axis.origin + rows * y_axis.step
    extent = (y_high, y_low, x_low, x_high)
    # A Figure without pyplot needs no screen and no closing.
    figure = Figure(figsize=(12, 7.8), layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    if overlay.area is not None:
        left.imshow(_tint(overlay.area), extent=extent, interpolation='nearest')
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
    low, high = np.percentile(z[inside], (2, 98)) if inside.any() else (0.0, 1.0)
    dots = left.scatter(
        y[inside], x[inside], s=0.8, c=z[inside], vmin=low, vmax=high, cmap='viridis', linewidths=0
    )
    figure.colorbar(dots, ax=left, label='height z [m]', location='bottom', shrink=0.8, aspect=40)
    left.set_title(f'cloud: {len(points)} points, {int(inside.sum())} in the grid')
    if overlay.labels is not None:
        at_x, at_y = overlay.labels[:, 0], overlay.labels[:, 1]
        shown = (at_x >= x_low) & (at_x < x_high) & (at_y >= y_low) & (at_y < y_high)
        overlay = replace(overlay, labels=overlay.labels[shown])
    _draw_boxes(left, overlay)
    right.imshow(render_bev_image(features.array[0]), extent=extent, interpolation='nearest')
    # A second colour bar keeps both panels of equal size.
    scale = figure.colorbar(
        ScalarMappable(cmap='viridis'), ax=right, location='bottom', shrink=0.8, aspect=40
    )
    scale.set_ticks([0, 1], labels=['1st', '99th'])
    scale.set_label('percentile of the activation strength')
    channels = features.array.shape[1]
    right.set_title(f'features: {channels} x {rows} x {cols}, activation strength')
    for axes in (left, right):
        axes.set(aspect='equal', xlim=(y_high, y_low), ylim=(x_low, x_high))
        axes.set_xlabel('y, left [m]')
    left.set_ylabel('x, forward [m]')
    left.set_facecolor('#111111')
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _tint(area: np.ndarray) -> np.ndarray:
    """Returns (W,H,4) colours of road surface and unknown cells, farthest row first."""
    tint = np.zeros((*area.shape, 4))
    tint[(area >= 0) & (area < 50)] = (*_ROAD, 0.45)
    tint[area < 0] = (*_UNKNOWN, 0.25)
    return tint.transpose(1, 0, 2)[::-1, ::-1]


def _draw_boxes(axes: Axes, overlay: Overlay) -> None:
    legend = []
    if overlay.labels is not None:
        axes.add_collection(outlines(overlay.labels, [_LABEL] * len(overlay.labels), 2.2))
        legend.append(Line2D([], [], color=_LABEL, label=f'labelled ({len(overlay.labels)})'))
    if overlay.objects is not None:
        names = overlay.objects.names
        axes.add_collection(
            outlines(overlay.objects.boxes, [CLASS_COLOURS[n] for n in names], 1.3)
        )
        for name, colour in CLASS_COLOURS.items():
            legend.append(Line2D([], [], color=colour, label=f'{name} ({names.count(name)})'))
    if overlay.area is not None:
        legend.append(Line2D([], [], color=_ROAD, linewidth=6, label='drivable'))
        if (overlay.area < 0).any():
            legend.append(Line2D([], [], color=_UNKNOWN, linewidth=6, label='unknown'))
    if legend:
        axes.legend(
            handles=legend, loc='lower right', fontsize=7, labelcolor='white', facecolor='#333333'
        )


def outlines(boxes: np.ndarray, colours: list[Any], width: float) -> LineCollection:
    """Returns the outline of each box from above, with a line along its heading."""
    boxes = np.array(boxes, np.float32).reshape(-1, 7)
    corners = corners_bev(torch.from_numpy(boxes)).numpy()
    lines, shades = [], []
    for box, corner, colour in zip(boxes, corners, colours, strict=True):
        ahead = box[:2] + np.array([np.cos(box[6]), np.sin(box[6])]) * box[3] / 2
        lines += [corner[[0, 1, 2, 3, 0]][:, ::-1], np.array([box[:2], ahead])[:, ::-1]]
        shades += [colour, colour]
    return LineCollection(lines, colors=shades, linewidths=width)
