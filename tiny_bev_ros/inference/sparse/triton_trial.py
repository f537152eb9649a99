# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Trial of Triton's kernels on a device: one small layer in each compute dtype."""

from __future__ import annotations

import torch

from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.triton_chain import TritonChain

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_CHANNELS = 16


@torch.inference_mode()
def works(device: torch.device) -> bool:
    """Returns True if the kernels compute the right values; the host waits for them."""
    return all(_layer_works(device, dtype) for dtype in _DTYPES)


def _layer_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Returns True if a sum over 3x3 cells of one pillar of ones is right, which is exact."""
    weight = torch.ones(_CHANNELS, _CHANNELS, 3, 3)
    layer = ConvLayer(weight, torch.zeros(_CHANNELS), stride=1, relu=True)
    chain = TritonChain((layer,), (5, 5), dtype, device)
    chain.find(torch.full((1, 2), 2, device=device))
    result = chain.compute(torch.ones(1, _CHANNELS, device=device)).cpu()
    wanted = torch.zeros(_CHANNELS, 5, 5)
    wanted[:, 1:4, 1:4] = _CHANNELS
    return torch.equal(result.float(), wanted)
