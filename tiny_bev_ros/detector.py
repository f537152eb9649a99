# SPDX-License-Identifier: Apache-2.0
"""A trained network from points to objects, in one call."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.device_timer import DeviceTimestamp
from tiny_bev_ros.inference.head_runner import HeadOutputs, HeadRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models.checkpoint.metadata import load_weights


class Detector:
    """Clouds to objects and drivable area, without ROS.

    Args:
        weights: a file of `train`.
        x_range, y_range: of the map, in metres.
        device: where to compute.
        precision: of the products.

    Attributes:
        description: what the file says of itself.
        grid: of the pseudo-image.
        stride: cells of it per cell of the features.
        fine: grid of the features, and of the drivable area.
        seconds: of each stage of the last cloud; on CUDA by the device's clock.

    Raises:
        TinyBevError: the file is not one of weights, or the grid is wrong.
    """

    def __init__(
        self,
        weights: str | Path,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        device: torch.device | None = None,
        precision: str = 'float32',
    ) -> None:
        self._device = device = device or torch.device('cpu')
        network, self.description = load_weights(weights)
        self.grid = self.description.grid(x_range, y_range)
        self.stride = network.backbone.feature_info[-1].stride
        self.fine = self.grid.strided(self.stride)
        self._pillars = PillarRunner(network.pfn, self.grid, device)
        self._engine = BackboneRunner(network.backbone, device, precision=precision)
        self._heads = HeadRunner(dict(network.heads.items()), device, precision)
        self._pillars.warm_up()
        self._engine.warm_up(self.grid.shape)
        self.seconds: dict[str, float] = {}

    def __call__(self, points: np.ndarray, min_scores: tuple[float, ...]) -> HeadOutputs:
        """What is in a cloud.

        Args:
            points: (N,4) float32 x, y, z, intensity, in the sensor's frame.
            min_scores: from which on an object counts, for each class.
        """
        moments = [DeviceTimestamp(self._device)]
        pillars = self._pillars.pillars(points)
        moments.append(DeviceTimestamp(self._device))
        features = self._engine.from_checked(*pillars, self.grid.shape)
        moments.append(DeviceTimestamp(self._device))
        seen = self._heads(features, self.fine, min_scores)
        moments.append(DeviceTimestamp(self._device))
        names = ('pillars', 'backbone', 'heads')
        moments[-1].wait()
        spent = [begin.ms_until(end) / 1e3 for begin, end in pairwise(moments)]
        self.seconds = dict(zip(names, spent, strict=True))
        return seen
