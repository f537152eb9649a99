# SPDX-License-Identifier: Apache-2.0
"""The demo's picture: a cloud from above beside what the network makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from tiny_bev_ros.messages.bev_image import bev_image
from tiny_bev_ros.messages.tensor import BevTensor


def draw(points: np.ndarray, features: BevTensor, title: str, path: Path) -> None:
    """Writes a PNG: points from above, and the features' activation strength.

    Both panels show the map's extent in metres, x (forward) up and y (left) to the left.

    Args:
        points: (N,4+) float32 x, y, z in metres.
        features: (1,C,H,W) with axes in its labels.
        title: of the picture.
        path: of the PNG.
    """
    x_axis, y_axis = features.labels.x_axis, features.labels.y_axis
    if x_axis is None or y_axis is None:
        raise ValueError('features carry no grid')  # ours always do
    rows, cols = features.array.shape[-2:]
    x_low, x_high = x_axis.origin, x_axis.origin + cols * x_axis.step
    y_low, y_high = y_axis.origin, y_axis.origin + rows * y_axis.step
    # A Figure of its own needs no screen, and nothing to be closed.
    figure = Figure(figsize=(12, 7.8), layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
    low, high = np.percentile(z[inside], (2, 98)) if inside.any() else (0.0, 1.0)
    dots = left.scatter(
        y[inside], x[inside], s=0.8, c=z[inside], vmin=low, vmax=high, cmap='viridis', linewidths=0
    )
    figure.colorbar(dots, ax=left, label='height z [m]', location='bottom', shrink=0.8, aspect=40)
    left.set_title(f'cloud: {len(points)} points, {int(inside.sum())} on the map')
    right.imshow(
        bev_image(features.array[0]),
        extent=(y_high, y_low, x_low, x_high),
        interpolation='nearest',
    )
    # Keeps both panels of one size: the picture's colours are scaled to its own values.
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
