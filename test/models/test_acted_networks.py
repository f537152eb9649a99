# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks on an acted CUDA device: after the first call no copy, and no wait of the host."""

from __future__ import annotations

import pytest
import torch
from acted_machine import Machine

from tiny_bev_ros.models import build_backbone, list_backbones, seeded


@pytest.mark.parametrize('name', list_backbones())
def test_a_backbone_neither_waits_nor_copies(acted: Machine, name: str):
    with seeded(0):
        network = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16).eval()
    network, pseudo_image = network.to('cuda'), torch.rand(2, 8, 19, 32).to('cuda')
    with torch.inference_mode():
        network(pseudo_image)
        acted.reset()
        network(pseudo_image)
    assert acted.launches
    assert not acted.wait_lines
    assert not acted.copied
