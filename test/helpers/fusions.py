# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fusion that changes BEV features, for tests: that of a node without a checkpoint does not."""

from __future__ import annotations

from pathlib import Path

import torch

from tiny_bev_ros.models import FuTrFusion, seeded


def lively_fusion(channels: int, camera_channels: int, mode: str = 'projected') -> FuTrFusion:
    """Returns a fusion with random weights, equal in each call."""
    with seeded(0):
        return FuTrFusion(channels, camera_channels, mode).eval()


def save_fusion(fusion: FuTrFusion, path: Path) -> str:
    """Writes weights as fusion.checkpoint takes them; returns the path."""
    torch.save({f'fusion.{key}': each for key, each in fusion.state_dict().items()}, path)
    return str(path)
