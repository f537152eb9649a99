# SPDX-License-Identifier: Apache-2.0
"""A part of a network that is computed on whole maps: what follows a chain, and heads."""

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
        module: is copied.
        device: where to compute.
        dtype: of the products; others than float32 by autocast.
        method: of the module, which is called.
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
        """(B,C,H,W) float32 to what the module gives."""
        with torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
            return self._call(x)


def _folded(module: nn.Module) -> nn.Module:
    """The module itself, batch norms that follow a convolution in a Sequential left out."""
    for child in module.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for index in range(len(child) - 1):
            conv, norm = child[index], child[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                child[index] = fuse_conv_bn_eval(conv, norm)
                child[index + 1] = nn.Identity()
    return module
