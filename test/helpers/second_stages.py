# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Second stages with lively weights, and small networks that have one."""

from __future__ import annotations

from pathlib import Path

import torch

from tiny_bev_ros.models import RefinementHead, seeded
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata
from tiny_bev_ros.training.second_stage_file import add_second_stage

NETWORK = {
    'backbone': 'tiny',
    'pfn_channels': 8,
    'mid_channels': 8,
    'out_channels': 8,
    'heads': ['detection', 'drivable'],
}
METADATA = CheckpointMetadata(NETWORK, 0.5, (-3.0, 1.0), {'seed': 0})


def lively_second_stage(seed: int = 0) -> RefinementHead:
    """Returns a second stage that changes boxes and scores, other ones for other boxes."""
    with seeded(seed):
        head = RefinementHead()
        for norm in (each for each in head.modules() if isinstance(each, torch.nn.BatchNorm1d)):
            torch.nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.normal_(head.boxes[-1].weight, 0, 0.3)
    return head.eval()


def save_with_second_stage(path: Path, seed: int = 0) -> Path:
    """Writes a file of small random networks with a second stage."""
    with seeded(1):
        network = build_detector(**{**NETWORK, 'heads': tuple(NETWORK['heads'])})
    # Scores around one half, so that objects are candidates of the second stage.
    torch.nn.init.zeros_(network.heads['detection'].maps.bias)
    add_second_stage(
        path, network.eval(), METADATA, lively_second_stage(seed), {'command': 'none'}
    )
    return path
