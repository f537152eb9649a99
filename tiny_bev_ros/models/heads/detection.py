# SPDX-License-Identifier: Apache-2.0
"""Objects as peaks of a map: what a centre-based head computes, and the boxes in it.

Yin, Zhou and Krahenbuhl, "Center-based 3D Object Detection and Tracking", CVPR 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.checks import check_positive_int
from tiny_bev_ros.models.heads.box_ops import suppress
from tiny_bev_ros.models.layers import conv_block

# What a network finds, by the index of its heat map.
CLASSES = ('vehicle', 'pedestrian', 'cyclist')
# Maps after the heat: offset x, y in cells, height z, log of length, width and height, sine and
# cosine of twice the yaw, and the logit of its other half: does the heading lie ahead?
_REGRESSED = 9
# Objects are rare: heat begins at one in a hundred.
_RARE = -4.6
# Peaks that are looked at; more objects than that are on no map.
_MOST = 500


class DetectionMaps(NamedTuple):
    """What the head computes of each cell of a map of (h, w).

    Attributes:
        heat: (B,K,h,w) logits, that the middle of an object of each class is there.
        offset: (B,2,h,w) x and y of the middle from the cell's, in cells.
        z: (B,1,h,w) height of the middle in metres.
        log_size: (B,3,h,w) logarithm of length, width and height in metres.
        axis: (B,2,h,w) sine and cosine of twice the yaw: which line the object lies on.
        ahead: (B,1,h,w) logit that the yaw is in (-pi/2, pi/2], its cosine positive.
    """

    heat: Tensor
    offset: Tensor
    z: Tensor
    log_size: Tensor
    axis: Tensor
    ahead: Tensor


class Detections(NamedTuple):
    """Objects of one frame, best first.

    Attributes:
        boxes: (N,7) float32 x, y, z, length, width, height, yaw; metres and radians.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, index into CLASSES.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DetectionHead(nn.Module):
    """Heat maps of objects and, at their peaks, the boxes.

    Args:
        in_channels: of the features.
        mid_channels: of the block that all maps share.

    Raises:
        TinyBevError: a number of channels is not a whole number above 0.
    """

    def __init__(self, in_channels: int = 64, mid_channels: int = 64) -> None:
        super().__init__()
        check_positive_int('in_channels', in_channels)
        check_positive_int('mid_channels', mid_channels)
        self.shared = conv_block(in_channels, mid_channels)
        self.maps = nn.Conv2d(mid_channels, len(CLASSES) + _REGRESSED, 1)
        with torch.no_grad():
            bias = self.maps.bias
            assert bias is not None
            bias[: len(CLASSES)] = _RARE

    def forward(self, features: Tensor) -> DetectionMaps:
        """(B,C,h,w) to maps of the same size, float32."""
        maps = self.maps(self.shared(features)).float()
        return DetectionMaps(*maps.split([len(CLASSES), 2, 1, 3, 2, 1], dim=1))


def decode(
    maps: DetectionMaps, grid: BevGrid, min_scores: tuple[float, ...], max_iou: float = 0.15
) -> list[Detections]:
    """The objects in the maps of each frame.

    A cell counts where its heat is above that of its eight neighbours; of boxes of one class
    that overlap the better stays.

    Args:
        maps: of the head.
        grid: of these maps, not of the pseudo-image.
        min_scores: for each class.
        max_iou: seen from above, of two objects of a class.

    Raises:
        TinyBevError: the grid is of another size, or there is not one score for each class.
    """
    if tuple(maps.heat.shape[-2:]) != grid.shape:
        raise TinyBevError(
            f'maps are {tuple(maps.heat.shape[-2:])} cells; expected {grid.shape}, as the grid'
        )
    if len(min_scores) != maps.heat.shape[1]:
        raise TinyBevError(
            f'min_scores are {len(min_scores)}; expected {maps.heat.shape[1]}, one for each class'
        )
    heat = maps.heat.sigmoid()
    floor = heat.new_tensor(min_scores)[:, None, None]
    peak = (heat == max_pool2d(heat, 3, stride=1, padding=1)) & (heat >= floor)
    return [
        _objects(DetectionMaps(*(each[frame] for each in maps)), heat[frame], peak[frame], grid,
                 max_iou)
        for frame in range(len(heat))
    ]  # fmt: skip


def _objects(
    maps: DetectionMaps, heat: Tensor, peak: Tensor, grid: BevGrid, max_iou: float
) -> Detections:
    label, row, col = peak.nonzero(as_tuple=True)
    scores = heat[label, row, col]
    if len(scores) > _MOST:
        scores, best = scores.topk(_MOST)
        label, row, col = label[best], row[best], col[best]
    offset, z, log_size, axis, ahead = (each[:, row, col] for each in maps[1:])
    yaw = torch.atan2(axis[0], axis[1]) / 2
    yaw = torch.where(ahead[0] >= 0, yaw, yaw + torch.pi)
    yaw = torch.where(yaw > torch.pi, yaw - 2 * torch.pi, yaw)
    x = grid.x_axis.centre(col + offset[0])
    y = grid.y_axis.centre(row + offset[1])
    # A network in training may say anything: no box is larger than 50 m.
    size = log_size.clamp(-4, 4).exp()
    boxes = torch.stack([x, y, z[0], *size, yaw], dim=1).float()
    kept = suppress(boxes, scores, label, max_iou)
    return Detections(boxes[kept], scores[kept], label[kept])
