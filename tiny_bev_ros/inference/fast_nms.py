# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Non-maximum suppression of rotated boxes by a compiled kernel, where numba can be used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.models.heads.box_ops import nms_bev


def fast_nms(boxes: Tensor, scores: Tensor, labels: Tensor, max_iou: float) -> Tensor:
    """Applies `nms_bev` to boxes on the CPU, with its arguments and its result.

    Pairs of boxes are compared one by one, so that removed boxes cost nothing.
    """
    if numba_unavailable_reason():
        return nms_bev(boxes, scores, labels, max_iou)
    from tiny_bev_ros.inference.kernels import nms_kernels as kernels  # imports numba

    order = scores.argsort(descending=True, stable=True)
    best = boxes[order].float().numpy()
    corners = np.empty((len(best), 4, 2))
    kept = np.empty(len(best), np.int64)
    kernels.find_corners(best, corners)
    count = kernels.suppress(best, labels[order].numpy(), np.float32(max_iou), corners, kept)
    return order[torch.from_numpy(kept[:count])]


def compile_nms() -> None:
    """Compiles the kernel, so that the first frame is not late."""
    fast_nms(torch.ones(1, 7), torch.ones(1), torch.zeros(1, dtype=torch.long), 1.0)
