# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled LiDAR frames of a run by their number: simulated, of a folder, or of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tiny_bev_ros.inference.mounting_tracker import track_clouds
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.simulated_lidar import Mountings, simulate_lidar_frame
from tiny_bev_ros.training.training_config import SIM, TrainConfig

# Seed of the first simulated LiDAR frame of a run; those below are for evaluation.
_FIRST_SEED = 1_000_000
# Number of clouds of a folder by which the mounting of its sensor is estimated, at most.
_CLOUDS = 100
# Number of successive frames that hold both kinds in their fractions.
_BLOCK = 40


@dataclass(frozen=True)
class FrameSource:
    """LiDAR frames of a run by their number; it can be pickled.

    Attributes:
        make: function that makes frame i.
        remarks: lines about a folder for the user.
    """

    make: Callable[[int], Frame]
    remarks: tuple[str, ...] = ()

    def __call__(self, index: int) -> Frame:
        """Returns frame ``index``."""
        return self.make(index)


def frame_source(config: TrainConfig) -> FrameSource:
    """Returns the source of the LiDAR frames of a run.

    Raises:
        TinyBevError: the folder of the run cannot be used.
    """
    simulated = partial(
        _simulated, lidars=config.lidars, mountings=config.mountings, seed=config.seed
    )
    if config.data == SIM:
        return FrameSource(simulated)
    folder = KittiFolder(config.data)
    levelling, remark = None, ''
    if config.mountings.levelled:
        levelling, remark = estimate_levelling(folder)
    remarks = tuple(line for line in (folder.remark, remark) if line)
    recorded = partial(_recorded, folder=folder, seed=config.seed, levelling=levelling)
    if not config.simulated_fraction:
        return FrameSource(recorded, remarks)
    mixed = partial(
        _mixed,
        recorded=recorded,
        simulated=simulated,
        fraction=config.simulated_fraction,
        seed=config.seed,
    )
    return FrameSource(mixed, remarks)


def estimate_levelling(folder: KittiFolder) -> tuple[Levelling | None, str]:
    """Estimates the transform that levels the clouds of a folder, all of one sensor.

    Returns:
        The transform; None where the mounting is near the nominal one, or no ground is found.
        A line about the transform, or about ground that is not found; '' for neither.
    """
    names = folder.names[:: math.ceil(len(folder) / _CLOUDS)]
    state, levelling = track_clouds(folder.points(name) for name in names)
    estimate = state.estimate
    if estimate is None:
        return None, 'clouds are not levelled, as no ground is found in them'
    if levelling is None:
        return None, ''
    tilt = math.degrees(estimate.tilt) if state.tilt_corrected else 0.0
    return levelling, (
        f'clouds are levelled: the sensor is {estimate.height:.2f} m above the ground, '
        f'corrected for {levelling.lift:+.2f} m and {tilt:.1f} degrees'
    )


def _simulated(index: int, lidars: tuple[str, ...], mountings: Mountings, seed: int) -> Frame:
    return simulate_lidar_frame(_FIRST_SEED * (seed + 1) + index, lidars, mountings)


def _recorded(index: int, folder: KittiFolder, seed: int, levelling: Levelling | None) -> Frame:
    """Frame i of a folder; each epoch has every frame once, in an order of its own."""
    epoch, position = divmod(index, len(folder))
    order = np.random.default_rng((seed, epoch)).permutation(len(folder))
    frame = folder.frame(folder.names[order[position]])
    return frame if levelling is None else frame.levelled(levelling)


def _mixed(
    index: int,
    recorded: Callable[[int], Frame],
    simulated: Callable[[int], Frame],
    fraction: float,
    seed: int,
) -> Frame:
    """Frame i of both kinds, mixed at random in blocks, so that each process has both."""
    block, position = divmod(index, _BLOCK)
    before, after = (math.floor(each * _BLOCK * fraction) for each in (block, block + 1))
    rank = int(np.random.default_rng((seed, block)).permutation(_BLOCK)[position])
    if rank < after - before:
        return simulated(before + rank)
    return recorded(block * _BLOCK - before + rank - (after - before))
