# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Part of a network in eval mode, prepared once for its device and compute dtype."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tiny_bev_ros.inference.precision import autocast
from tiny_bev_ros.inference.sparse.sparse_path import uses_numba
from tiny_bev_ros.inference.worker_pool import WorkerPool
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration

# Layers that autocast computes in the compute dtype. Subclasses may use their weights otherwise.
_CAST_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
# Layers that take maps in any memory format, and return them in the same. Calibrations belong to
# the decoding: networks hold them, but do not call them.
_MAP_LAYERS = (
    nn.AvgPool2d,
    nn.BatchNorm2d,
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.Dropout,
    nn.GELU,
    nn.Identity,
    nn.MaxPool2d,
    nn.ReLU,
    nn.SiLU,
    nn.Upsample,
    ScoreCalibration,
)


class FoldedModule:
    """Part of a network in eval mode, prepared once for its device and compute dtype.

    Batch norms are folded into the convolutions before them, and the weights of convolutions and
    linear layers are cast to the compute dtype. The module runs under autocast, which has then no
    weights to cast. A network of maps alone, of which all layers are convolutions and the like,
    computes in channels_last, in which convolutions in half precision need no reordering. Its
    input is cast, too, so that all its parts read one map in the compute dtype. In float32 on the
    CPU its 3x3 convolutions run by Winograd's method, see TileConv2d.

    Args:
        module: module, which is copied.
        device: device on which to compute.
        dtype: compute dtype.
        method: name of the method of the module that is called.
        threads: threads of the numba kernels; 0 for as many as PyTorch has.

    Attributes:
        module: the prepared copy on the device.
    """

    @torch.no_grad()
    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        method: str = '__call__',
        threads: int = 0,
    ) -> None:
        self.module = _folded(copy.deepcopy(module)).to(device)
        self._maps_only = _is_of_map_layers(self.module)
        for child in self.module.modules():
            if type(child) in _CAST_LAYERS:
                child.to(dtype)
        if self._maps_only:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if dtype == torch.float32 and uses_numba(device):
                # Imported here, as the module needs numba.
                from tiny_bev_ros.inference.tile_conv import use_tiles

                use_tiles(self.module, WorkerPool(threads or torch.get_num_threads()))
        self._call: Callable[[Tensor], Any] = getattr(self.module, method)
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Any:
        """Calls the method with a tensor on the device; returns its result.

        The tensor may be float32 or of the compute dtype, in any memory format. Results may be
        channels_last, and are of the compute dtype where the method does not convert them.
        """
        if self._maps_only:
            x = x.to(self._dtype, memory_format=torch.channels_last)
        else:
            x = x.to(torch.float32, memory_format=torch.contiguous_format)
        with autocast(self._dtype, self._device):
            return self._call(x)


def _is_of_map_layers(module: nn.Module) -> bool:
    """Returns True if no layer views a map in ways that only the contiguous format allows.

    A module with parameters or buffers of its own beside its children may do so.
    """
    for child in module.modules():
        if any(child.children()):
            own = [*child.parameters(recurse=False), *child.buffers(recurse=False)]
            if own:
                return False
        elif type(child) not in _MAP_LAYERS:
            return False
    return True


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
