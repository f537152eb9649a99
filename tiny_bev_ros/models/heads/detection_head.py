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

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.box_ops import nms_bev
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps, Detections
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
from tiny_bev_ros.models.layers import check_positive_int, conv_block

# Number of channels after the heatmaps: offset x, y; z; log of length, width, height; sine and
# cosine of twice the yaw; heading sign.
_NUM_REG_CHANNELS = 9
# Initial logit of the heatmaps: objects are rare, so that scores start at one in a hundred.
_HEATMAP_BIAS = -4.6
# Peaks that are decoded at most; no map holds more objects.
_MAX_PEAKS = 500
# Largest logarithm of a side: a network in training may predict anything, no box exceeds 55 m.
_MAX_LOG_SIZE = 4


@register_head('detection')
class DetectionHead(Head):
    """Centre-based detection head.

    Args:
        in_channels: number of channels of the features.
        mid_channels: number of channels of the block that all maps share.

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
        """Computes the targets of the labelled objects; see `make_targets`."""
        return make_targets(
            torch.from_numpy(labels.boxes),
            torch.from_numpy(labels.labels),
            torch.from_numpy(labels.ignored),
            grid,
        )

    @staticmethod
    def loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
        """Computes heatmap, box and heading losses; see `detection_loss`."""
        return detection_loss(maps, targets)

    @staticmethod
    def decode(maps: DetectionMaps, grid: BevGrid, options: DecodeOptions) -> list[Detections]:
        """Objects of each frame; see `decode` of this module."""
        return decode(maps, grid, options.min_scores)


def decode(
    maps: DetectionMaps, grid: BevGrid, min_scores: tuple[float, ...], max_iou: float = 0.15
) -> list[Detections]:
    """Decodes the objects of each frame.

    A cell is a peak where its score is not below those of its eight neighbours; of overlapping
    boxes of one class the best stays.

    Args:
        maps: output of the head.
        grid: grid of the maps, which is coarser than that of the pseudo-image.
        min_scores: lowest score of a reported object, for each class.
        max_iou: largest overlap of two objects of a class, seen from above.

    Raises:
        TinyBevError: the grid is of another size, or there is not one score for each class.
    """
    if tuple(maps.heatmap.shape[-2:]) != grid.shape:
        raise TinyBevError(
            f'maps are {tuple(maps.heatmap.shape[-2:])} cells; expected {grid.shape}, as the grid'
        )
    if len(min_scores) != maps.heatmap.shape[1]:
        raise TinyBevError(
            f'min_scores are {len(min_scores)}; expected {maps.heatmap.shape[1]}, '
            'one for each class'
        )
    scores = maps.heatmap.sigmoid()
    lowest = scores.new_tensor(min_scores)[:, None, None]
    peak = (scores == max_pool2d(scores, 3, stride=1, padding=1)) & (scores >= lowest)
    return [
        _decode_frame(
            DetectionMaps(*(each[frame] for each in maps)),
            scores[frame],
            peak[frame],
            grid,
            max_iou,
        )
        for frame in range(len(scores))
    ]


def _decode_frame(
    maps: DetectionMaps, scores: Tensor, peak: Tensor, grid: BevGrid, max_iou: float
) -> Detections:
    label, row, col = peak.nonzero(as_tuple=True)
    scores = scores[label, row, col]
    if len(scores) > _MAX_PEAKS:
        scores, best = scores.topk(_MAX_PEAKS)
        label, row, col = label[best], row[best], col[best]
    offset, z, log_size, axis, heading_sign = (each[:, row, col] for each in maps[1:])
    yaw = torch.atan2(axis[0], axis[1]) / 2
    yaw = torch.where(heading_sign[0] >= 0, yaw, yaw + torch.pi)
    yaw = torch.where(yaw > torch.pi, yaw - 2 * torch.pi, yaw)
    x = grid.x_axis.centre(col + offset[0])
    y = grid.y_axis.centre(row + offset[1])
    size = log_size.clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE).exp()
    boxes = torch.stack([x, y, z[0], *size, yaw], dim=1).float()
    kept = nms_bev(boxes, scores, label, max_iou)
    return Detections(boxes[kept], scores[kept], label[kept])
