# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Emulation of Autoware's lidar_centerpoint on the CPU: its pillars, its decoding, its two NMS.

Written from the behaviour of autoware_lidar_centerpoint of autoware_universe, bundles of
version 4.1; docs/export.md cites the commits. The networks run in ONNX Runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tiny_bev_ros.export.autoware_networks import MAX_POINTS, POINT_FEATURES
from tiny_bev_ros.export.autoware_parameters import COMMON, MANIFEST, read_parameters
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime
from tiny_bev_ros.models.heads.box_ops import iou_bev


@dataclass(frozen=True)
class AutowareGrid:
    """Grid of the pillars of the node.

    Attributes:
        low: (3,) float32 x, y, z of the lower ends, in metres.
        high: (3,) float32 x, y, z of the upper ends, in metres.
        voxel: (3,) float32 sides of a pillar, in metres.
        max_voxels: number of pillars that the node keeps.
        stride: side of a cell of the outputs, in pillars.
    """

    low: np.ndarray
    high: np.ndarray
    voxel: np.ndarray
    max_voxels: int
    stride: int

    @classmethod
    def from_parameters(cls, model: dict[str, Any]) -> AutowareGrid:
        """Reads the grid from `model_params` of the manifest."""
        ends = np.array(model['point_cloud_range'], np.float32)
        voxel = np.array(model['voxel_size'], np.float32)
        return cls(
            ends[:3], ends[3:], voxel, int(model['max_voxel_size']), model['downsample_factor']
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, along y, and of columns, along x."""
        cols, rows, _ = ((self.high - self.low) / self.voxel).astype(int)
        return int(rows), int(cols)


class AutowarePillars(NamedTuple):
    """Input of the first network.

    Attributes:
        features: (V,32,10) float32 x, y, z, time lag, offset to the mean, offset to the centre of
            the pillar; padding is 0.
        cells: (V,) int64 flat cell of each pillar, row * W + column.
        crowded: (C,) int64 flat cells of pillars with more than 32 points.
        dropped: number of pillars beyond those that the node keeps.
    """

    features: np.ndarray
    cells: np.ndarray
    crowded: np.ndarray
    dropped: int


class AutowareObjects(NamedTuple):
    """Objects in the frame of the cloud, best first.

    Attributes:
        boxes: (N,7) float32 x, y, z of the centre, length, width, height, yaw.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, index into `class_names`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def select(self, index: np.ndarray) -> AutowareObjects:
        """Returns the objects of an index or mask."""
        return AutowareObjects(self.boxes[index], self.scores[index], self.labels[index])


def make_pillars(points: np.ndarray, grid: AutowareGrid, seed: int = 0) -> AutowarePillars:
    """Sorts points into pillars and decorates them.

    The node shuffles the cloud and keeps the first 32 points of a pillar. Pillars are numbered
    from the front to the back, and the last ones are dropped.

    Args:
        points: (N,3) float32 x, y, z of one sweep, in metres.
        grid: grid of the pillars.
        seed: seed of the order of points.
    """
    points = points[((points >= grid.low) & (points < grid.high)).all(1)].astype(np.float32)
    points = points[np.random.default_rng(seed).permutation(len(points))]
    rows, cols = grid.shape
    index = np.floor((points[:, :2] - grid.low[:2]) / grid.voxel[:2]).astype(np.int64)
    col, row = np.clip(index[:, 0], 0, cols - 1), np.clip(index[:, 1], 0, rows - 1)
    order = np.argsort((cols - 1 - col) * rows + row, kind='stable')
    points, cell = points[order], (row * cols + col)[order]
    first = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]][: len(cell)])
    counts = np.diff(np.r_[first, len(cell)])
    pillar = np.repeat(np.arange(len(first)), counts)
    slot = np.arange(len(cell)) - first[pillar]
    kept = (slot < MAX_POINTS) & (pillar < grid.max_voxels)
    number = min(len(first), grid.max_voxels)
    cells = cell[first]
    features = np.zeros((number, MAX_POINTS, POINT_FEATURES), np.float32)
    features[pillar[kept], slot[kept], :3] = points[kept]
    _decorate(features, np.minimum(counts, MAX_POINTS)[:number], cells[:number], grid)
    return AutowarePillars(
        features, cells[:number], cells[counts > MAX_POINTS], len(first) - number
    )


def _decorate(
    features: np.ndarray, counts: np.ndarray, cells: np.ndarray, grid: AutowareGrid
) -> None:
    """Writes the offsets of the points of pillars, of one sweep whose time lag is 0."""
    present = (np.arange(MAX_POINTS) < counts[:, None])[..., None]
    xyz = features[..., :3]
    mean = xyz.sum(1, keepdims=True) / counts[:, None, None].astype(np.float32)
    index = np.stack([cells % grid.shape[1], cells // grid.shape[1], np.zeros_like(cells)], 1)
    centre = grid.voxel / 2 + index.astype(np.float32) * grid.voxel + grid.low
    features[..., 4:7] = (xyz - mean) * present
    features[..., 7:10] = (xyz - centre[:, None]) * present


def decode(
    outputs: dict[str, np.ndarray], model: dict[str, Any], min_score: float | None = None
) -> AutowareObjects:
    """Decodes an object of each cell, as of the class of its highest score.

    Args:
        outputs: outputs (1,K,h,w) of the second network, by name.
        model: `model_params` of the manifest.
        min_score: lowest score, in place of that of the class and distance.

    Returns:
        Objects whose score and norm of the yaw vector reach the thresholds.
    """
    grid = AutowareGrid.from_parameters(model)
    maps = {name: value[0].reshape(value.shape[1], -1) for name, value in outputs.items()}
    scores = 0.5 + 0.5 * np.tanh(0.5 * maps['heatmap'])  # a sigmoid that does not overflow
    label, score = scores.argmax(0), scores.max(0)
    row, col = np.divmod(np.arange(len(label)), outputs['heatmap'].shape[3])
    step, low = grid.voxel[:2] * np.float32(grid.stride), grid.low[:2]
    x = step[0] * (col.astype(np.float32) + maps['reg'][0]) + low[0]
    y = step[1] * (row.astype(np.float32) + maps['reg'][1]) + low[1]
    lowest = _thresholds(model, label, np.hypot(x, y))
    if min_score is not None:
        lowest = np.where(np.isfinite(lowest), np.float32(min_score), np.inf)
    sine, cosine = maps['rot'][:2]
    norms = np.array(model['yaw_norm_thresholds'], np.float32)[label]
    kept = (score >= lowest) & (score > 0) & (np.hypot(sine, cosine) >= norms)
    width, length, height = np.exp(maps['dim'][:3])
    yaw = -np.arctan2(sine, cosine) - math.pi / 2
    boxes = np.stack([x, y, maps['height'][0], length, width, height, yaw], 1)
    found = AutowareObjects(boxes[kept].astype(np.float32), score[kept], label[kept])
    return found.select(np.argsort(-found.scores, kind='stable'))


def _thresholds(model: dict[str, Any], label: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Returns the lowest score of each object; infinity beyond the last distance."""
    limits = model['detection_score_thresholds']
    by_class = [limits['min_confidence_scores'][name] for name in model['class_names']]
    table = np.column_stack([np.array(by_class), np.full(len(by_class), np.inf)])
    upper = np.array(limits['distance_bin_upper_limits'], np.float32)
    lowest: np.ndarray = table.astype(np.float32)[
        label, np.searchsorted(upper, distance, side='right')
    ]
    return lowest


def suppress(
    found: AutowareObjects, post_process: dict[str, float], class_names: list[str]
) -> AutowareObjects:
    """Removes objects near a better one: by the distance of centres, then by overlap.

    Objects of two classes suppress each other as well, but no pedestrian one of another class.

    Args:
        found: objects, best first.
        post_process: `post_process_params` of the common parameters.
        class_names: names of the classes.
    """
    nearest = post_process['circle_nms_dist_threshold'] ** 2
    chosen: list[int] = []
    for index, box in enumerate(found.boxes):
        others = found.boxes[chosen, :2]
        if not (np.square(others - box[:2]).sum(1) < nearest).any():
            chosen.append(index)
    found = found.select(np.array(chosen, np.int64))
    boxes = torch.from_numpy(found.boxes)
    overlap = iou_bev(boxes, boxes).numpy()
    walker = found.labels == class_names.index('PEDESTRIAN')
    pair = (found.labels[:, None] == found.labels) | ~(walker[:, None] | walker)
    away = np.square(found.boxes[:, None, :2] - found.boxes[:, :2]).sum(2)
    pair &= away <= post_process['iou_nms_search_distance_2d'] ** 2
    # Every better object counts, whether it was itself removed or not.
    removed = np.triu(pair & (overlap > post_process['iou_nms_threshold']), 1).any(0)
    return found.select(~removed)


class EmulatedNode:
    """Autoware's node with the bundle of a folder, on single sweeps.

    Args:
        folder: folder of the bundle.

    Attributes:
        model: `model_params` of the manifest.
        common: common parameters.
        grid: grid of the pillars.

    Raises:
        TinyBevError: ONNX Runtime cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_parameters(folder / MANIFEST)
        self.model: dict[str, Any] = manifest['model_params']
        self.common = read_parameters(folder / COMMON)
        self.grid = AutowareGrid.from_parameters(self.model)
        threads = torch.get_num_threads()
        self._encoder = OnnxRuntime(folder / manifest['encoder_onnx_path'], threads)
        self._head = OnnxRuntime(folder / manifest['head_onnx_path'], threads)

    def encode(self, pillars: AutowarePillars) -> np.ndarray:
        """Returns the features (V,1,32) of pillars."""
        return self._encoder(torch.from_numpy(pillars.features)).numpy()

    def scatter(self, features: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Returns the pseudo-image (1,32,H,W) of pillar features."""
        rows, cols = self.grid.shape
        canvas = np.zeros((features.shape[2], rows * cols), np.float32)
        canvas[:, cells] = features[:, 0].T
        return canvas.reshape(1, -1, rows, cols)

    def run_head(self, canvas: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs of the second network by name."""
        values = self._head.outputs(torch.from_numpy(canvas))
        names = self._head.output_names
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def outputs(self, points: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns the outputs of the networks for a cloud (N,3) float32."""
        pillars = make_pillars(points, self.grid, seed)
        return self.run_head(self.scatter(self.encode(pillars), pillars.cells))

    def objects(self, outputs: dict[str, np.ndarray]) -> AutowareObjects:
        """Returns the objects that the node publishes, before their classes are remapped."""
        found = decode(outputs, self.model)
        return suppress(found, self.common['post_process_params'], self.model['class_names'])
