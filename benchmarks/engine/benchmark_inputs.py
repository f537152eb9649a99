# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Inputs of the benchmarks: network, clouds and pseudo-images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import PillarFeatureNet, build_backbone, scatter, seeded
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan
from tiny_bev_ros.training.kitti import read_sweep

CPU = torch.device('cpu')
KITTI = BevGrid((0.0, 69.12), (-39.68, 39.68), (-3.0, 1.0), 0.16)
RANDOM_FRACTION = 0.05
_RANDOM_MAPS = 2
_SCENES = 5
_CHANNELS = 64


def trained_like(network: nn.Module) -> nn.Module:
    """Sets random batch norm statistics, as after training, and eval mode."""
    with seeded(1), torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def backbone() -> nn.Module:
    """Builds the network that every contender computes, equal in every process."""
    with seeded(0):
        return trained_like(build_backbone('tiny'))


def pillar_feature_net(max_points: int | None = None) -> PillarFeatureNet:
    """Builds the pillar feature net; its weights do not depend on `max_points`."""
    with seeded(0):
        network = PillarFeatureNet(max_points=max_points)
    trained_like(network)
    return network


def clouds(folder: Path) -> dict[str, np.ndarray]:
    """Reads KITTI sweeps, or simulates some if there are none.

    Args:
        folder: folder with kitti/velodyne/*.bin, full turns of the sensor, and
            kitti/velodyne_reduced/*.bin, the points within the camera's view.

    Returns:
        Clouds (N,4) float32 by label.
    """
    sweeps = {
        f'{kind} {path.stem}': read_sweep(path)
        for kind, name in (('sweep', 'velodyne'), ('front', 'velodyne_reduced'))
        for path in sorted((folder / 'kitti' / name).glob('*.bin'))
    }
    return sweeps or {f'simulated {i}': simulated(i) for i in range(_SCENES)}


def simulated(number: int) -> np.ndarray:
    """Simulates a sweep of a street, (N,4) float32."""
    scene, pose = street(0).at(number / 2), ego_pose(street_plan(0), 4.0 * number)
    return scan(scene, LIDARS['hdl64'], pose, number).points


def random_pillars(shape: tuple[int, int], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws features (count,64) and cells (count,2) at random positions of a map (H,W)."""
    random = np.random.default_rng(seed)
    flat = np.sort(random.choice(shape[0] * shape[1], count, replace=False))
    cells = torch.from_numpy(np.stack([flat // shape[1], flat % shape[1]], 1))
    return torch.from_numpy(random.random((count, _CHANNELS), np.float32)), cells


def pseudo_images(points: dict[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    """Yields label and pseudo-image (1,64,496,432) of each cloud, then of uniform random maps."""
    stage = PillarRunner(pillar_feature_net(), KITTI, CPU)
    for label, cloud in points.items():
        yield label, stage.scatter(stage.pillars(cloud))
    count = round(RANDOM_FRACTION * KITTI.shape[0] * KITTI.shape[1])
    for seed in range(_RANDOM_MAPS):
        yield (
            f'random {seed}',
            scatter(*random_pillars(KITTI.shape, count, seed), KITTI.shape),
        )


def active_fraction(pseudo_image: Tensor) -> float:
    """Returns the fraction of cells with a non-zero channel."""
    return float((pseudo_image != 0).any(1).float().mean())
