# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Datasets of simulated frames with a camera image, for the training of fusion."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from tiny_bev_ros.training.dataset import Crop, Sample, make_sample
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.simulated_camera import (
    CameraFrame,
    image_tensor,
    mirror_camera_frame,
    simulate_camera_frame,
    simulated_camera,
)


class CameraFrames(Dataset):
    """Simulated frames of a range of seeds, each simulated once and kept in a folder.

    Args:
        folder: folder of the frames; it is created where it is missing.
        seeds: seeds of the frames.
    """

    def __init__(self, folder: Path, seeds: range) -> None:
        self._folder, self._seeds = folder, seeds
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._seeds)

    def __getitem__(self, index: int) -> CameraFrame:
        """Reads frame ``index``, or simulates and keeps it."""
        path = self._folder / f'{self._seeds[index]}.npz'
        if path.is_file():
            with np.load(path) as kept:
                lidar = Frame(kept['points'], kept['instance_ids'], kept['boxes'], kept['labels'])
                return CameraFrame(lidar, kept['image'], bool(kept['dark']))
        frame = simulate_camera_frame(self._seeds[index])
        lidar = frame.lidar
        # A name of its own, as several processes may simulate the same frame.
        new = path.with_suffix(f'.{os.getpid()}.npz')
        np.savez(
            new,
            points=lidar.points,
            instance_ids=lidar.instance_ids,
            boxes=lidar.boxes,
            labels=lidar.labels,
            image=frame.image,
            dark=frame.dark,
        )
        new.replace(path)
        return frame


class CameraSamples(Dataset):
    """Samples of frames with images; item i is the same in every run of the same seed.

    Frames are drawn with replacement, and half of them are mirrored. They are not augmented
    otherwise, as the image could not follow.

    Args:
        frames: at least one frame.
        count: number of items.
        crop: size and resolution of a sample, ahead of the sensor.
        seed: seed of order and mirroring.
        heads: names of the heads whose targets samples have; by default all.
    """

    def __init__(
        self,
        frames: Sequence[CameraFrame] | CameraFrames,
        count: int,
        crop: Crop,
        seed: int,
        heads: Sequence[str] | None = None,
    ) -> None:
        random = np.random.default_rng(seed)
        self._frames, self._crop, self._heads = frames, crop, heads
        self._order = random.integers(0, len(frames), count)
        self._mirrored = random.random(count) < 0.5

    def __len__(self) -> int:
        """Number of items."""
        return len(self._order)

    def __getitem__(self, index: int) -> list[Sample]:
        """Makes the only sample of item ``index``."""
        frame: Any = self._frames[int(self._order[index])]
        if self._mirrored[index]:
            frame = mirror_camera_frame(frame)
        return [make_camera_sample(frame, self._crop, self._heads)]


def make_camera_sample(
    frame: CameraFrame, crop: Crop, heads: Sequence[str] | None = None
) -> Sample:
    """Makes the sample of a frame with its image, of the crop straight ahead.

    Args:
        frame: the frame.
        crop: size and resolution of the sample.
        heads: names of the heads whose targets the sample has; by default all.
    """
    sample = make_sample(frame.lidar, crop.ahead(), crop.stride, heads)
    images = image_tensor(frame.image)[None]
    return sample._replace(images=images, cameras=(simulated_camera(),))
