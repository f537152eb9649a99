# SPDX-License-Identifier: Apache-2.0
"""Targets and losses of each head, in dicts by the name of the head."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.losses import DetectionTargets, detection_loss, make_targets
from tiny_bev_ros.models.observed_ground import looked_at
from tiny_bev_ros.training.labelled_frame import FEWEST_POINTS, GROUND, Frame

# Weight of the drivable area beside the objects.
_DRIVABLE_WEIGHT = 3.0
# Weight of a cell whose ground was not observed beside one whose ground was.
_UNOBSERVED_WEIGHT = 0.2


class DrivableTargets(NamedTuple):
    """Targets of the drivable head for one frame, or for a batch of frames, stacked.

    Attributes:
        drivable: (h,w) float32, 1 for road surface.
        observed: (h,w) float32, 1 where that is known and points lie on the ground.
    """

    drivable: Tensor
    observed: Tensor


def frame_targets(frame: Frame, grid: BevGrid, inside: np.ndarray) -> dict[str, Any]:
    """Makes the targets of every head for one frame.

    Args:
        frame: the labelled cloud.
        grid: grid of the BEV features.
        inside: (N,) bool, true for the points that the network is given. Objects keep the count
            of all their points.
    """
    return {
        'detection': _detection_targets(frame, grid),
        'drivable': _drivable_targets(frame, grid, inside),
    }


def _detection_targets(frame: Frame, grid: BevGrid) -> DetectionTargets:
    """Targets of the detection head; objects of few points are left open."""
    known = frame.labels >= 0
    return make_targets(
        torch.from_numpy(frame.boxes[known]),
        torch.from_numpy(frame.labels[known]),
        torch.from_numpy(frame.counts[known] < FEWEST_POINTS),
        grid,
    )


def _drivable_targets(frame: Frame, grid: BevGrid, inside: np.ndarray) -> DrivableTargets:
    if frame.road is None:
        return DrivableTargets(torch.zeros(grid.shape), torch.zeros(grid.shape))
    rows, cols = grid.shape
    x, y = np.meshgrid(grid.x_axis.centre(np.arange(cols)), grid.y_axis.centre(np.arange(rows)))
    drivable = torch.from_numpy(frame.road.drivable_at(x, y).astype(np.float32))
    ground = inside & (frame.instance_ids == GROUND)
    return DrivableTargets(drivable, _observed(frame.points[ground], grid))


def _observed(points: np.ndarray, grid: BevGrid) -> Tensor:
    """(h,w) float32: 1 for cells that have one of these points in or near them."""
    row = torch.from_numpy(grid.y_axis.index(points[:, 1]).astype(np.int64))
    col = torch.from_numpy(grid.x_axis.index(points[:, 0]).astype(np.int64))
    rows, cols = grid.shape
    return looked_at(row.clamp(0, rows - 1), col.clamp(0, cols - 1), grid.shape).float()


def head_losses(outputs: dict[str, Any], targets: dict[str, Any]) -> dict[str, Tensor]:
    """Computes the named parts of the loss; their sum is minimised.

    Args:
        outputs: output of each head that is trained, by its name, for a batch of frames.
        targets: targets of each head, stacked, for as many frames.
    """
    losses: dict[str, Tensor] = {}
    if 'detection' in outputs:
        losses |= detection_loss(outputs['detection'], targets['detection'])
    if 'drivable' in outputs:
        losses['drivable'] = _drivable_loss(outputs['drivable'], targets['drivable'])
    return losses


def _drivable_loss(logits: Tensor, targets: DrivableTargets) -> Tensor:
    """Cross entropy of (B,1,h,w) logits; unobserved ground counts little, and as no road."""
    observed = targets.observed
    weight = observed + _UNOBSERVED_WEIGHT * (1 - observed)
    loss = binary_cross_entropy_with_logits(
        logits[:, 0], targets.drivable * observed, weight, reduction='sum'
    )
    return _DRIVABLE_WEIGHT * loss / weight.sum().clamp(min=1)
