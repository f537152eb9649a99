# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Convolution with bias and ReLU in one launch of cuDNN, where cuDNN has a kernel for it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from tiny_bev_ros.errors import first_line
from tiny_bev_ros.inference.device_errors import device_is_lost
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Largest difference by rounding of half precision, as a fraction of the largest output.
_TOLERANCE = 0.02


class CudnnLayer(ConvLayer):
    """Layer that ends with ReLU, on CUDA: PyTorch's convolution would run its parts apart.

    The weight and the bias must have the dtype and the device of the input. cuDNN's ReLU may turn
    NaN into 0.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Maps (B, C_in, H, W) to (B, C_out, ceil(H/stride), ceil(W/stride)), ReLU included."""
        pair, padding = (self.stride, self.stride), (self.kernel // 2, self.kernel // 2)
        y: Tensor = torch.cudnn_convolution_relu(
            x, self.weight, self.bias, pair, padding, (1, 1), 1
        )
        return y


def fused_where_possible(layers: Sequence[ConvLayer], x: Tensor) -> tuple[list[ConvLayer], str]:
    """Replaces the layers of a chain for which cuDNN has a fused kernel, found by a trial of each.

    cuDNN's kernels depend on shape, dtype and GPU, so only a trial shows whether one exists. A
    layer that is refused, or computed wrongly, stays as it is; in half precision a warning gives
    the reason.

    Args:
        layers: layers of a chain, on a CUDA device.
        x: (B, C_in, H, W) input of the first layer, as later calls have it, with random values.

    Returns:
        Layers in their order, and the reason of the first refusal; '' for none.

    Raises:
        RuntimeError: memory is short, or the device is lost.
    """
    found: list[ConvLayer] = []
    reason = ''
    for layer in layers:
        used, x, refusal = _fused_or_plain(layer, x)
        found.append(used)
        reason = reason or refusal
    # In float32 without TF32 a refusal is expected.
    if reason and x.dtype != torch.float32:
        warnings.warn(f'convolution and ReLU are not fused: {reason}', stacklevel=2)
    return found, reason


def _fused_or_plain(layer: ConvLayer, x: Tensor) -> tuple[ConvLayer, Tensor, str]:
    """Returns the layer to use, its output, and the reason why it is not fused though it could."""
    if not layer.relu:
        return layer, layer(x), ''
    fused = CudnnLayer(layer.weight, layer.bias, layer.stride, relu=True)
    try:
        plain = layer(x)
        # cuDNN reads the memory of its output, too, with factor 0: NaN there must not stay. The
        # memory of this map is mostly that of the next output.
        torch.full_like(plain, math.nan)
        if (fused(x) - plain).abs().max() <= _TOLERANCE * plain.abs().max():
            return fused, plain, ''
        return layer, plain, 'cuDNN computes another result'
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, AttributeError) as error:  # AttributeError: PyTorch lacks the function
        if device_is_lost(error, x.device):
            raise
        reason = first_line(error)
    # cuDNN finds no kernel where memory is short, too: this then raises the shortage.
    return layer, layer(x), reason
