# SPDX-License-Identifier: Apache-2.0
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
