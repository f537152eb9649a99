# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Figure of a fusion: an image with points and the pixels one cell attends to, and BEV maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from tiny_bev_ros.demo.cloud_figure import outlines
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.bev_image import render_bev_image
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.fusion.futr import FuTrFusion
from tiny_bev_ros.models.fusion.projected_attention import ProjectedAttention
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.tokens import to_tokens
from tiny_bev_ros.training.simulated_camera import CLASSES

# Colours of the classes of simulated camera frames.
COLOURS = ('#4fc3f7', '#ffd54f', '#ff7043')
_CELL = '#ff3355'
_FARTHEST = 50.0
_MOST_POINTS = 5000
# Farther cells are a few pixels in the image.
_WITHIN_M = 30.0


@dataclass(frozen=True)
class AttendedPixels:
    """Pixels that a cell attends to in an image.

    Attributes:
        cell: row and column of the cell.
        pixels: (M,2) pixels of the image, column first.
        weights: (M,) attention weights, the mean over the heads; their sum is 1.
    """

    cell: tuple[int, int]
    pixels: np.ndarray
    weights: np.ndarray


@torch.inference_mode()
def attended_pixels(
    fusion: FuTrFusion,
    bev: Tensor,
    grid: BevGrid,
    features: Tensor,
    camera: Camera,
    image_camera: Camera,
    cell: tuple[int, int],
) -> AttendedPixels:
    """Returns the pixels that a cell attends to in the image of one camera.

    Args:
        fusion: fusion of mode 'projected', in eval mode.
        bev: (1,C,h,w) BEV features.
        grid: grid of the BEV features.
        features: (1,c,rows,cols) camera features.
        camera: camera with intrinsics for cols x rows pixels.
        image_camera: camera with intrinsics for the drawn image.
        cell: row and column of the cell.
    """
    attention = fusion.attention
    assert isinstance(attention, ProjectedAttention)
    plan = attention.sampling_plan(grid, [camera], bev.device)
    queries = fusion.norm(to_tokens(bev)[0, plan.cell])
    weights = attention.weights(queries, grid, [features[0]], [camera])
    is_entry = plan.entry_cells() == cell[0] * grid.shape[1] + cell[1]
    positions = torch.tensor(
        [
            [grid.x_axis.centre(cell[1]), grid.y_axis.centre(cell[0]), attention.heights[height]]
            for height in plan.height[is_entry].tolist()
        ],
        dtype=torch.float64,
    ).view(-1, 3)
    pixels, _ = image_camera.project(positions)
    return AttendedPixels(cell, pixels.numpy(), weights[is_entry].mean(dim=1).numpy())


def likeliest_cell(
    fusion: FuTrFusion, grid: BevGrid, camera: Camera, heatmap: np.ndarray
) -> tuple[int, int]:
    """Returns the cell of the highest score within 30 m whose heights are all visible."""
    attention = fusion.attention
    assert isinstance(attention, ProjectedAttention)
    cells = attention.sampling_plan(grid, [camera], torch.device('cpu')).entry_cells()
    count = np.bincount(cells.numpy(), minlength=heatmap.size).reshape(heatmap.shape)
    rows, cols = np.indices(heatmap.shape)
    far = np.hypot(grid.x_axis.centre(cols), grid.y_axis.centre(rows)) > _WITHIN_M
    fit = (count == count.max()) & ~far
    row, col = np.unravel_index(np.where(fit, heatmap, -np.inf).argmax(), count.shape)
    return int(row), int(col)


def draw(
    image: np.ndarray,
    camera: Camera,
    points: np.ndarray,
    maps: tuple[np.ndarray, np.ndarray],
    detections: Sequence[Detections],
    grid: BevGrid,
    attended: AttendedPixels,
    title: str,
    path: Path,
) -> None:
    """Writes a PNG: the image with points and attended pixels, the BEV maps below.

    Args:
        image: (H,W,3) uint8 image.
        camera: camera of the image.
        points: (N,3+) float32 x, y, z in metres.
        maps: (C,h,w) BEV features of the LiDAR, and fused ones.
        detections: detections in each map, with labels of `simulated_camera.CLASSES`.
        grid: grid of both maps.
        attended: pixels that one cell attends to.
        title: title of the figure.
        path: path of the PNG.
    """
    figure = Figure(figsize=(12, 8.4), layout='constrained')
    panels = figure.subplot_mosaic(
        [['image'] * 3, ['lidar', 'fused', 'change']], height_ratios=(1, 1.25)
    )
    _draw_image(panels['image'], image, camera, points, attended, figure)
    (x_low, x_high), (y_low, y_high) = grid.x_range, grid.y_range
    extent = (y_high, y_low, x_low, x_high)
    lidar, fused = maps
    boxes = dict(zip(('lidar', 'fused'), detections, strict=True))
    change = np.sqrt(np.square(fused - lidar).mean(axis=0))[None]
    for name, features, label in (
        ('lidar', lidar, 'LiDAR features, activation strength'),
        ('fused', fused, 'fused features, activation strength'),
        ('change', change, 'change by the camera'),
    ):
        axes = panels[name]
        axes.imshow(render_bev_image(features), extent=extent, interpolation='nearest')
        if name in boxes:
            colours = [COLOURS[label] for label in boxes[name].labels.tolist()]
            axes.add_collection(outlines(boxes[name].boxes.numpy(), colours, 1.6))
        axes.plot(
            grid.y_axis.centre(attended.cell[0]),
            grid.x_axis.centre(attended.cell[1]),
            's', markersize=9, markerfacecolor='none', markeredgecolor=_CELL, markeredgewidth=2,
        )  # fmt: skip
        axes.set(aspect='equal', xlim=(y_high, y_low), ylim=(x_low, x_high), title=label)
        axes.set_xlabel('y, left [m]')
    panels['lidar'].set_ylabel('x, forward [m]')
    panels['fused'].legend(
        handles=[
            Line2D([], [], color=colour, label=f'{name} ({(detections[1].labels == label).sum()})')
            for label, (name, colour) in enumerate(zip(CLASSES, COLOURS, strict=True))
        ],
        loc='lower right', fontsize=7, labelcolor='white', facecolor='#333333',
    )  # fmt: skip
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _draw_image(
    axes: Axes,
    image: np.ndarray,
    camera: Camera,
    points: np.ndarray,
    attended: AttendedPixels,
    figure: Figure,
) -> None:
    axes.imshow(image)
    positions = torch.from_numpy(np.ascontiguousarray(points[:, :3]))
    inside = camera.visible(positions)
    pixels, depth = camera.project(positions[inside])
    # Near points are drawn last, over far ones; a part of the points keeps the image visible.
    step = -(-len(depth) // _MOST_POINTS) or 1
    order = depth.argsort(descending=True)[::step]
    at, far = pixels[order].numpy(), depth[order].numpy()
    axes.scatter(
        at[:, 0], at[:, 1], s=2, c=far, cmap='turbo_r', vmin=0, vmax=_FARTHEST, linewidths=0
    )
    size = 60 + 500 * attended.weights
    cols, rows = attended.pixels.T
    axes.scatter(cols, rows, s=size, facecolors='none', edgecolors=_CELL, linewidths=2)
    for (col, row), weight in zip(attended.pixels, attended.weights, strict=True):
        axes.annotate(
            f'{weight:.0%}', (col, row), (14, 0), textcoords='offset points', color='white',
            fontsize=8, va='center', bbox={'facecolor': _CELL, 'edgecolor': 'none', 'pad': 1},
        )  # fmt: skip
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    axes.set_axis_off()
    axes.set_title(
        f'{len(order)} of {len(depth)} points in the image; circles: attended by the framed cell'
    )
    scale = ScalarMappable(cmap='turbo_r')
    scale.set_clim(0, _FARTHEST)
    figure.colorbar(scale, ax=axes, label='depth [m]', shrink=0.8, pad=0.01)
