# SPDX-License-Identifier: Apache-2.0
"""What the maps of the detection head should be, and how far they are from it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, logsigmoid

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps

# Of the hills in the heat maps, and around the middle the cells that learn the box, in metres:
# by class, as people walk beside each other.
_SIGMA = (0.55, 0.4, 0.45)
_LEARN = (1.0, 0.55, 0.7)
_BOX_WEIGHT = 2.0
# Of the height beside the other values of a box: it is learnt last, as most of what says it is
# lost in the first convolutions unless it is asked for.
_Z_WEIGHT = 3.0
_AHEAD_WEIGHT = 0.2


class DetectionTargets(NamedTuple):
    """What the maps of a frame should be; a batch of them is stacked.

    Attributes:
        heat: (K,h,w) 1 at the middle of an object, falling around it.
        counts: (K,h,w) bool, whether the heat of a cell counts.
        box: (9,h,w) offset x, y, z, log of length, width, height, sine and cosine of twice the
            yaw, and whether its cosine is positive.
        learns: (h,w) float32, 1 where the box counts.
        objects: () float32, how many middles there are.
    """

    heat: Tensor
    counts: Tensor
    box: Tensor
    learns: Tensor
    objects: Tensor


def make_targets(
    boxes: Tensor, labels: Tensor, ignored: Tensor, grid: BevGrid
) -> DetectionTargets:
    """Maps of the labelled objects of one frame.

    Args:
        boxes: (N,7) float32.
        labels: (N,) int64, index into CLASSES.
        ignored: (N,) bool: of those it is left open whether they are found.
        grid: of the maps.
    """
    rows, cols = grid.shape
    heat = torch.zeros(len(CLASSES), rows, cols)
    counts = torch.ones(len(CLASSES), rows, cols, dtype=torch.bool)
    box = torch.zeros(9, rows, cols)
    learns = torch.zeros(rows, cols)
    # How near the middle is to which a cell belongs so far.
    nearest = torch.full((rows, cols), math.inf)
    x = grid.x_axis.centre(torch.arange(cols, dtype=torch.float32))
    y = grid.y_axis.centre(torch.arange(rows, dtype=torch.float32))
    objects = 0
    for each, label, leave in zip(boxes, labels.tolist(), ignored.tolist(), strict=True):
        window = _window(each, grid)
        if window is None:
            continue
        dx, dy = each[0] - x[window[1]][None, :], each[1] - y[window[0]][:, None]
        square = dx**2 + dy**2
        if leave:
            along, across = _in_frame(dx, dy, each[6])
            under = (along.abs() <= each[3] / 2 + 0.3) & (across.abs() <= each[4] / 2 + 0.3)
            counts[:, window[0], window[1]] &= ~under
            continue
        hill = torch.exp(-square / (2 * _SIGMA[label] ** 2))
        # Exactly 1 in the cell that holds the middle, so that each object has its peak.
        hill[(dx.abs() <= grid.resolution / 2) & (dy.abs() <= grid.resolution / 2)] = 1
        inside = bool((hill == 1).any())
        here = heat[label][window]
        here.copy_(torch.maximum(here, hill))
        objects += inside
        mine = (square < _LEARN[label] ** 2) & (square < nearest[window])
        nearest[window] = torch.where(mine, square, nearest[window])
        learns[window] = torch.where(mine, 1.0, learns[window])
        values = _values(each, dx / grid.resolution, dy / grid.resolution)
        here = box[:, window[0], window[1]]
        here.copy_(torch.where(mine, values, here))
    return DetectionTargets(heat, counts, box, learns, torch.tensor(float(objects)))


def detection_loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
    """Parts of the loss, of which the sum is to fall.

    The heat's is the focal loss of Law and Deng, "CornerNet", ECCV 2018, over the number of
    objects; the box's is L1 over its cells.

    Args:
        maps: of a batch.
        targets: of the same, stacked.
    """
    objects = targets.objects.sum().clamp(min=1)
    return {
        'heat': _focal(maps.heat, targets.heat, targets.counts) / objects,
        **_box_loss(maps, targets),
    }


def _focal(logits: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    share = logits.sigmoid()
    peak = heat == 1
    missed = -logsigmoid(logits) * (1 - share) ** 2
    wrong = -logsigmoid(-logits) * share**2 * (1 - heat) ** 4
    return (torch.where(peak, missed, wrong) * counts).sum()


def _box_loss(maps: DetectionMaps, targets: DetectionTargets) -> dict[str, Tensor]:
    learns = targets.learns[:, None]
    cells = learns.sum().clamp(min=1)
    said = torch.cat([maps.offset, maps.z, maps.log_size, maps.axis], dim=1)
    far = l1_loss(said, targets.box[:, :8], reduction='none')
    far = far * far.new_tensor([1, 1, _Z_WEIGHT, 1, 1, 1, 1, 1])[:, None, None]
    ahead = binary_cross_entropy_with_logits(maps.ahead, targets.box[:, 8:], reduction='none')
    return {
        'box': _BOX_WEIGHT * (far * learns).sum() / cells / 4,
        'ahead': _AHEAD_WEIGHT * (ahead * learns).sum() / cells,
    }


def _window(box: Tensor, grid: BevGrid) -> tuple[slice, slice] | None:
    """Rows and columns around a box; None where it is off the map."""
    corners = corners_bev(box[None])[0]
    margin = 2.0
    low = corners.amin(dim=0) - margin
    high = corners.amax(dim=0) + margin
    rows, cols = grid.shape
    first_col = max(0, int(grid.x_axis.index(float(low[0]))))
    last_col = min(cols, int(grid.x_axis.index(float(high[0]))) + 1)
    first_row = max(0, int(grid.y_axis.index(float(low[1]))))
    last_row = min(rows, int(grid.y_axis.index(float(high[1]))) + 1)
    if first_col >= last_col or first_row >= last_row:
        return None
    return slice(first_row, last_row), slice(first_col, last_col)


def _in_frame(dx: Tensor, dy: Tensor, yaw: Tensor) -> tuple[Tensor, Tensor]:
    return dx * yaw.cos() + dy * yaw.sin(), dy * yaw.cos() - dx * yaw.sin()


def _values(box: Tensor, offset_x: Tensor, offset_y: Tensor) -> Tensor:
    """(9,h,w) of one box in the cells of its window."""
    yaw = box[6]
    whole = [
        box[2],
        *box[3:6].log(),
        (2 * yaw).sin(),
        (2 * yaw).cos(),
        (yaw.cos() > 0).to(box.dtype),
    ]
    shape = torch.broadcast_shapes(offset_x.shape, offset_y.shape)
    return torch.stack(
        [offset_x.expand(shape), offset_y.expand(shape), *(v.expand(shape) for v in whole)]
    )
