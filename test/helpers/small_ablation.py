# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runs of the ablation that take seconds."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.ablation_modes import CONFIG
from tiny_bev_ros.training.training_config import TrainConfig


def small_config(**changes: Any) -> TrainConfig:
    """Returns a run of seconds, of a small network.

    Args:
        changes: fields of the run that are other than in config/training/fusion.yaml.
    """
    assert CONFIG.network.camera is not None
    camera = dataclasses.replace(CONFIG.network.camera, channels=16)
    network = dataclasses.replace(
        CONFIG.network, pfn_channels=8, mid_channels=8, out_channels=16, camera=camera
    )
    changes = {'batch': 2, 'workers': 0, 'precision': 'float32', **changes}
    return dataclasses.replace(CONFIG, network=network, **changes)
