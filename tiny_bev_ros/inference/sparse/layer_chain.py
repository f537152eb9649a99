# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Chain of convolutions extracted from a network, with batch norm folded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError

# Largest difference by rounding, as a fraction of the greatest output; another wiring exceeds it.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ConvLayer:
    """Convolution, optionally followed by ReLU.

    Attributes:
        weight: (C_out, C_in, k, k) float32, batch norm folded in.
        bias: (C_out,) float32, batch norm folded in.
        stride: stride along both axes; the padding is k // 2.
        relu: True if ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    stride: int
    relu: bool

    @property
    def kernel(self) -> int:
        """Kernel size k."""
        return self.weight.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        """Maps (B, C_in, H, W) to (B, C_out, ceil(H/stride), ceil(W/stride)), ReLU included."""
        y = self.convolve(x)
        return y.relu_() if self.relu else y

    def convolve(self, x: Tensor) -> Tensor:
        """Convolves without ReLU, in the dtype of x; shapes as for a call."""
        weight, bias = self.weight.to(x), self.bias.to(x)
        return nn.functional.conv2d(x, weight, bias, self.stride, self.kernel // 2)


def chain_part(backbone: nn.Module) -> tuple[nn.Module, bool]:
    """Returns the part of a backbone that may be a chain, and True if layers follow that part."""
    followed = hasattr(backbone, 'after_chain')
    return (backbone.get_submodule('chain') if followed else backbone), followed


def as_chain(network: nn.Module) -> tuple[ConvLayer, ...]:
    """Extracts the layers of a network that is a chain of convolution, batch norm and ReLU.

    Args:
        network: network in eval mode, its modules registered in the order in which they run.
            That order is verified on a random input.

    Raises:
        TinyBevError: the network is not such a chain; the message gives the reason.
    """
    if network.training:
        raise TinyBevError('the network is in train mode; expected eval mode')
    layers: list[ConvLayer] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            layers.append(_from_conv(name, module))
        elif isinstance(module, nn.BatchNorm2d) and layers and not layers[-1].relu:
            layers[-1] = _fold(layers[-1], module)
        elif isinstance(module, nn.ReLU) and layers:
            layers[-1] = ConvLayer(
                layers[-1].weight, layers[-1].bias, layers[-1].stride, relu=True
            )
        elif not any(module.children()):
            raise TinyBevError(
                f'{name} is a {type(module).__name__}; expected Conv2d, BatchNorm2d, ReLU'
            )
    _check_wiring(network, layers)
    return tuple(layers)


def _from_conv(name: str, conv: nn.Conv2d) -> ConvLayer:
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    plain = (
        conv.kernel_size == (kernel, kernel)
        and kernel in (1, 3)
        and conv.stride == (stride, stride)
        and conv.padding == (kernel // 2, kernel // 2)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
    )
    if not plain:
        raise TinyBevError(f'{name} is {conv}; expected a 1x1 or 3x3 with padding to equal size')
    weight = conv.weight.detach().float()
    bias = conv.bias.detach().float() if conv.bias is not None else weight.new_zeros(len(weight))
    return ConvLayer(weight, bias, stride, relu=False)


def _fold(layer: ConvLayer, norm: nn.BatchNorm2d) -> ConvLayer:
    if norm.running_mean is None or norm.running_var is None:
        raise TinyBevError('a BatchNorm2d has no running statistics; expected some')
    scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        scale, shift = (
            scale * norm.weight.double(),
            shift * norm.weight.double() + norm.bias.double(),
        )
    weight = layer.weight.double() * scale[:, None, None, None]
    bias = layer.bias.double() * scale + shift
    return ConvLayer(
        weight.detach().float().contiguous(), bias.detach().float(), layer.stride, relu=False
    )


def dense_work(layers: Sequence[ConvLayer], shape: tuple[int, int]) -> int:
    """Returns the multiplications of a chain on a map of (H,W)."""
    rows, cols = shape
    total = 0
    for layer in layers:
        rows, cols = -(-rows // layer.stride), -(-cols // layer.stride)
        total += rows * cols * layer.weight.numel()
    return total


@torch.no_grad()
def _check_wiring(network: nn.Module, layers: list[ConvLayer]) -> None:
    weight = layers[0].weight
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, weight.shape[1], 16, 16, generator=generator).to(weight)
    expected, y = network(x), x
    for layer in layers:
        y = layer(y)
    is_equal = (
        isinstance(expected, Tensor)
        and expected.shape == y.shape
        and (expected - y).abs().max() <= _TOLERANCE * expected.abs().max().clamp(min=1e-6)
    )
    if not is_equal:
        raise TinyBevError('the network does not compute its convolutions in sequence')
