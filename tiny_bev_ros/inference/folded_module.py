# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Part of a network with batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class FoldedModule:
    """Part of a network in eval mode, with batch norms folded into the convolutions before them.

    Args:
        module: module, which is copied.
        device: device on which to compute.
        dtype: compute dtype; with another than float32 the module runs under autocast.
        method: name of the method of the module that is called.
    """

    @torch.no_grad()
    def __init__(
        self, module: nn.Module, device: torch.device, dtype: torch.dtype, method: str = '__call__'
    ) -> None:
        self._module = _folded(copy.deepcopy(module)).to(device)
        self._call: Callable[[Tensor], Any] = getattr(self._module, method)
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Any:
        """Calls the method with (B,C,H,W) float32; returns its result."""
        with torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
            return self._call(x)


def _folded(module: nn.Module) -> nn.Module:
    """Folds batch norms that follow a convolution in a Sequential; returns the module itself."""
    for child in module.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for index in range(len(child) - 1):
            conv, norm = child[index], child[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                child[index] = fuse_conv_bn_eval(conv, norm)
                child[index + 1] = nn.Identity()
    return module
