# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Small networks with random weights, to be exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models import build_backbone
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, save_weights

NETWORK: dict[str, Any] = {
    'backbone': 'tiny',
    'pfn_channels': 8,
    'mid_channels': 8,
    'out_channels': 8,
    'heads': ('detection', 'drivable'),
}
METADATA = CheckpointMetadata(NETWORK, 0.2, (-3.0, 2.0), {'commit': 'none'})
# Backbones whose first two layers have every kind of operation.
_DEEP = ('deformable', 'transformer')


def small_detector(name: str) -> BevDetector:
    """Returns a detector in eval mode with a backbone of the registry."""
    torch.manual_seed(0)
    network = build_detector(**{**NETWORK, 'backbone': name})
    if name in _DEEP:
        network.backbone = build_backbone(
            name, in_channels=8, mid_channels=8, out_channels=8, depth=2
        )
    with torch.no_grad():  # batch norms that do something, and scores that are not all equal
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
        network.heads['detection'].calibration.scale.copy_(torch.tensor([0.8, 1.2, 0.9]))
        network.heads['detection'].calibration.bias.copy_(torch.tensor([0.5, -0.2, 1.0]))
    return network.eval()


def small_models(name: str) -> LoadedModels:
    """Returns the networks of `small_detector` with a grid of 64 x 80 cells."""
    network = small_detector(name)
    grid = METADATA.grid((0.0, 16.0), (-6.4, 6.4))
    return LoadedModels(network.pfn, network.backbone, network.heads, grid=grid, metadata=METADATA)


def small_weights(path: Path) -> Path:
    """Writes the weights of a detector with the backbone tiny."""
    save_weights(path, small_detector('tiny'), METADATA)
    return path
