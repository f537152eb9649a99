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
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from tiny_bev_ros.inference.mounting_tracker import MountingTracker
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


def frame_source(config: TrainConfig) -> Callable[[int], Frame]:
    """Returns the function that makes LiDAR frame i of a run; it can be pickled.

    Raises:
        TinyBevError: the folder of the run cannot be used.
    """
    simulated = partial(
        _simulated, lidars=config.lidars, mountings=config.mountings, seed=config.seed
    )
    if config.data == SIM:
        return simulated
    folder = KittiFolder(config.data)
    if folder.remark:
        print(f'train: {folder.remark}', file=sys.stderr)
    levelling = estimate_levelling(folder) if config.mountings.levelled else None
    recorded = partial(_recorded, folder=folder, seed=config.seed, levelling=levelling)
    if not config.simulated_fraction:
        return recorded
    return partial(
        _mixed,
        recorded=recorded,
        simulated=simulated,
        fraction=config.simulated_fraction,
        seed=config.seed,
    )


def estimate_levelling(folder: KittiFolder) -> Levelling | None:
    """Estimates the transform that levels the clouds of a folder, all of one sensor.

    Returns:
        The transform, which is also named on stderr; None where the mounting is near the nominal
        one, or no ground is found.
    """
    tracker, levelling = MountingTracker(), None
    for name in folder.names[:: math.ceil(len(folder) / _CLOUDS)]:
        levelling = tracker.update(folder.points(name))
    estimate = tracker.state.estimate
    if levelling is not None and estimate is not None:
        tilt = math.degrees(estimate.tilt) if tracker.state.tilt_corrected else 0.0
        print(
            f'train: clouds are levelled: the sensor is {estimate.height:.2f} m above the ground, '
            f'corrected for {levelling.lift:+.2f} m and {tilt:.1f} degrees',
            file=sys.stderr,
        )
    return levelling


def _simulated(index: int, lidars: tuple[str, ...], mountings: Mountings, seed: int) -> Frame:
    return simulate_lidar_frame(_FIRST_SEED * (seed + 1) + index, lidars, mountings)


def _recorded(index: int, folder: KittiFolder, seed: int, levelling: Levelling | None) -> Frame:
    """Frame i of a folder; each epoch has every frame once, in an order of its own."""
    epoch, position = divmod(index, len(folder))
    order = np.random.default_rng((seed, epoch)).permutation(len(folder))
    frame = folder.frame(folder.names[order[position]])
    if levelling is None:
        return frame
    # Boxes begin with x, y, z as points do; their sides and yaw stay.
    points, boxes = levelling.points(frame.points), levelling.points(frame.boxes)
    return replace(frame, points=points, boxes=boxes)


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
