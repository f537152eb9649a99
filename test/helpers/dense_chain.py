# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Chain of a small backbone, computed densely, with which sparse chains are compared."""

from __future__ import annotations

import torch
from shaken_networks import shaken

from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer, as_chain
from tiny_bev_ros.models import TinyBEVBackbone, seeded


def tiny_layers(seed: int = 0) -> tuple[ConvLayer, ...]:
    """Returns the layers of a network of 6 input channels, with random statistics."""
    with seeded(seed):
        return as_chain(shaken(TinyBEVBackbone(6, 5, 7), seed))


def dense(chain: tuple[ConvLayer, ...], canvas: torch.Tensor) -> torch.Tensor:
    """Computes the output (C_out,h,w) of a chain on a pseudo-image (1,C,H,W)."""
    for layer in chain:
        canvas = layer(canvas)
    return canvas[0]


def difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Returns the largest difference from a tensor on the CPU, over its largest magnitude."""
    assert got.shape == wanted.shape
    return float((got.cpu().float() - wanted).abs().max() / wanted.abs().max())
