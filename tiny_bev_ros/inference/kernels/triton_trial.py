# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Trial launch, which checks that Triton can compile and launch kernels on this machine."""

from __future__ import annotations

import torch

from tiny_bev_ros.inference.kernels import triton_kernels, triton_launch


@torch.inference_mode()
def works(device: torch.device) -> bool:
    """Returns True if a kernel computes the right values; the host waits for it."""
    rows = torch.zeros(16, device=device)
    index_map = torch.zeros(3, 3, dtype=torch.int32, device=device)
    triton_launch.launch(
        triton_kernels.mark_pillars,
        (1,),
        torch.ones(1, 16, device=device),
        torch.zeros(1, 2, dtype=torch.long, device=device),
        1,
        rows,
        index_map,
        3,
        16,
        padded=16,
        block_sites=16,
        block_channels=16,
        num_warps=1,
    )
    return bool((rows.sum() == 16) & (index_map.sum() == 1) & (index_map[1, 1] == 1))
