# SPDX-License-Identifier: Apache-2.0
"""DetectionHead: heatmaps of object centres and, at their peaks, the boxes.

Yin, Zhou and Krahenbuhl, "Center-based 3D Object Detection and Tracking", CVPR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps, Detections, decode
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
        maps = self.maps(self.shared(features)).float()
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
        """Decodes the objects of each frame; see `tiny_bev_ros.models.heads.detection.decode`."""
        return decode(maps, grid, options.min_scores)
