# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""DetectionHead: heatmaps of object centres and, decoded from their peaks, the boxes.

Yin, Zhou and Krahenbuhl, "Center-based 3D Object Detection and Tracking", CVPR 2021.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.device import copy_to_host
from tiny_bev_ros.models.heads.detection import (
    CLASSES,
    MAX_IOU,
    DetectionMaps,
    Detections,
    check_min_scores,
)
from tiny_bev_ros.models.heads.detection_loss import (
    DetectionTargets,
    detection_loss,
    make_targets,
)
from tiny_bev_ros.models.heads.head_registry import (
    DecodeOptions,
    FrameLabels,
    Head,
    register_head,
)
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration
from tiny_bev_ros.models.layers import check_positive_int, conv_block

# Number of channels after the heatmaps: offset x, y; z; log of length, width, height; sine and
# cosine of twice the yaw; heading sign.
_NUM_REG_CHANNELS = 9
# Initial logit of the heatmaps: objects are rare, so that scores start at one in a hundred.
_HEATMAP_BIAS = -4.6
# Peaks of a class that are decoded at most.
_MAX_PEAKS = 500
# Class of which each cell is decoded, as its objects may be in adjacent cells.
_PEDESTRIAN = CLASSES.index('pedestrian')
# Largest logarithm of a side: a network in training may predict anything, no box exceeds 55 m.
MAX_LOG_SIZE = 4


@register_head('detection')
class DetectionHead(Head):
    """Centre-based detection head.

    Args:
        in_channels: number of channels of the features.
        mid_channels: number of channels of the block that all maps share.

    Attributes:
        calibration: calibration of the scores of decoded objects.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    output_type = Detections

    def __init__(self, in_channels: int = 64, mid_channels: int = 64) -> None:
        super().__init__()
        check_positive_int(in_channels=in_channels, mid_channels=mid_channels)
        self.in_channels = in_channels
        self.shared = conv_block(in_channels, mid_channels)
        self.maps = nn.Conv2d(mid_channels, len(CLASSES) + _NUM_REG_CHANNELS, 1)
        self.calibration = ScoreCalibration()
        with torch.no_grad():
            bias = self.maps.bias
            assert bias is not None
            bias[: len(CLASSES)] = _HEATMAP_BIAS

    def forward(self, features: Tensor) -> DetectionMaps:
        """Computes float32 maps of features (B,C,h,w), of the same size."""
        # Contiguous, as the decoding reads each map by itself.
        maps = self.maps(self.shared(features)).float().contiguous()
        return DetectionMaps(*maps.split([len(CLASSES), 2, 1, 3, 2, 1], dim=1))

    @staticmethod
    def targets(labels: FrameLabels, grid: BevGrid) -> DetectionTargets:
        """Computes the targets of the labelled objects; see `make_targets`.

        No cell learns the box of an object whose box is not exact.
        """
        targets = make_targets(
            torch.from_numpy(labels.boxes),
            torch.from_numpy(labels.labels),
            torch.from_numpy(labels.ignored),
            grid,
        )
        if labels.exact_boxes:
            return targets
        return targets._replace(box_mask=torch.zeros_like(targets.box_mask))

    @staticmethod
    def loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
        """Computes heatmap, box and heading losses; see `detection_loss`."""
        return detection_loss(maps, targets)

    def select(self, maps: DetectionMaps) -> Tensor:
        """Selects the best peaks of each class.

        A cell is a peak where its logit is not below those of its eight neighbours; of
        pedestrians, who walk side by side, each cell is one.

        Returns:
            (B,K,P,11) float32: calibrated score and flat cell of a peak, and the values of the
            other maps, in their order. P is 500, or the number of cells if that is less; where a
            class has fewer peaks, the scores of the rest are -inf.
        """
        return select_peaks(maps, self.calibration)

    @staticmethod
    def finish(selected: Tensor, grid: BevGrid, options: DecodeOptions) -> Detections:
        """Returns the objects of selected peaks; of overlapping ones of a class the best stays.

        Raises:
            TinyBevError: there is not one score for each class.
        """
        check_min_scores(options.min_scores)
        label, peaks = _best_peaks(selected.numpy(), options.min_scores)
        boxes = _boxes(torch.from_numpy(peaks), grid)
        scores, labels = torch.from_numpy(peaks[:, 0].copy()), torch.from_numpy(label)
        kept = options.nms(boxes, scores, labels, MAX_IOU)
        return Detections(boxes[kept], scores[kept], labels[kept])


def select_peaks(maps: DetectionMaps, calibration: ScoreCalibration) -> Tensor:
    """Selects the best peaks of each class, and the best cells of pedestrians.

    See `DetectionHead.select`. Scores are computed of the selected peaks alone, as a positive
    scale keeps the order of logits.
    """
    logits = maps.heatmap
    highest = _largest_neighbour(_largest_neighbour(logits, dim=3), dim=2)
    highest[:, _PEDESTRIAN] = logits[:, _PEDESTRIAN]
    logits = torch.where(logits == highest, logits, -torch.inf).flatten(2)
    logits, cell = logits.topk(min(_MAX_PEAKS, logits.shape[2]), sorted=False)
    scores = torch.where(logits == -torch.inf, logits, calibration(logits))
    frame = torch.arange(len(cell), device=cell.device)[:, None, None]
    width = maps.heatmap.shape[3]
    row, col = cell.div(width, rounding_mode='floor'), cell % width
    # float32 is exact up to MAX_CELLS.
    values = [each[frame, :, row, col] for each in maps[1:]]
    return torch.cat([scores[..., None], cell[..., None].float(), *values], dim=3)


def _largest_neighbour(scores: Tensor, dim: int) -> Tensor:
    """Returns the largest of each value and its two neighbours along a dimension.

    Twice this is max_pool2d of 3x3 cells, which takes 20 times as long on the CPU.
    """
    largest, count = scores.clone(), scores.shape[dim] - 1
    upper, lower = largest.narrow(dim, 1, count), largest.narrow(dim, 0, count)
    torch.maximum(upper, scores.narrow(dim, 0, count), out=upper)
    torch.maximum(lower, scores.narrow(dim, 1, count), out=lower)
    return largest


@torch.no_grad()
def decode(
    maps: DetectionMaps,
    grid: BevGrid,
    min_scores: tuple[float, ...],
    calibration: ScoreCalibration | None = None,
) -> list[Detections]:
    """Decodes the objects of each frame, on the CPU.

    Args:
        maps: output of the head.
        grid: grid of the maps, which is coarser than that of the pseudo-image.
        min_scores: lowest score of a reported object, for each class.
        calibration: calibration of the head; None for scores that are the sigmoid of the logits.

    Raises:
        TinyBevError: the grid is of another size, or there is not one score for each class.
    """
    if tuple(maps.heatmap.shape[-2:]) != grid.shape:
        raise TinyBevError(
            f'maps are {tuple(maps.heatmap.shape[-2:])} cells; expected {grid.shape}, as the grid'
        )
    calibration = calibration or ScoreCalibration().to(maps.heatmap.device)
    (selected,) = copy_to_host(select_peaks(maps, calibration))
    options = DecodeOptions(min_scores)
    return [DetectionHead.finish(frame, grid, options) for frame in selected]


def _best_peaks(
    selected: np.ndarray, min_scores: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns classes (N,) int64 and values (N,11) of the reported peaks, best first.

    Equal scores are in the order of their classes, then of their cells.
    """
    lowest = np.asarray(min_scores, np.float32)[:, None]
    label, rank = np.nonzero(selected[..., 0] >= lowest)
    peaks = selected[label, rank]
    best = np.lexsort((peaks[:, 1], label, -peaks[:, 0]))
    return label[best], peaks[best]


def _boxes(peaks: Tensor, grid: BevGrid) -> Tensor:
    """Computes boxes (N,7) float32 of peaks (N,11), as from `DetectionHead.select`."""
    _, cell, x_offset, y_offset, z, *log_size, sin, cos, heading_sign = peaks.unbind(1)
    cell = cell.long()
    col, row = cell % grid.shape[1], cell.div(grid.shape[1], rounding_mode='floor')
    yaw = torch.atan2(sin, cos) / 2
    yaw = torch.where(heading_sign >= 0, yaw, yaw + torch.pi)
    yaw = torch.where(yaw > torch.pi, yaw - 2 * torch.pi, yaw)
    x, y = grid.x_axis.centre(col + x_offset), grid.y_axis.centre(row + y_offset)
    size = torch.stack(log_size).clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp()
    return torch.stack([x, y, z, *size, yaw], dim=1)
