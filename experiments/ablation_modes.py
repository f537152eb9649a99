# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""One network trained with a LiDAR, with a camera and with both, and its average precision.

All modes are trained on the same frames in the same order, for the same number of steps. With both
sensors the heads are trained on the fused BEV features and on the BEV features of the LiDAR alone,
so that the LiDAR alone suffices where the camera fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.heads.box_ops import iou_bev
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.detection_head import DetectionHead, decode
from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.camera_dataset import CameraFrames, CameraSamples, make_camera_sample
from tiny_bev_ros.training.dataset import Batch, Sample, collate
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame
from tiny_bev_ros.training.reliability import MIN_SCORE
from tiny_bev_ros.training.simulated_camera import CLASSES, GRID, CameraFrame
from tiny_bev_ros.training.trainable_detector import TrainableDetector, build_network
from tiny_bev_ros.training.trainer import Trainer
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig, read_config

MODES = ('lidar', 'camera', 'fused')
CONFIG = read_config(Path(__file__).parents[1] / 'config/training/fusion.yaml')
# Smallest BEV IoU of a true positive, by class; people are small.
MIN_IOU = (0.5, 0.25, 0.5)
# Seeds of the frames for evaluation begin here, those for training at 0.
EVAL_SEED = 1_000_000


class ModeDetector(TrainableDetector):
    """Network of one mode, with freshly initialised weights; all modes have the same parts.

    In 'camera' the fusion precedes the backbone and has the channels of the pseudo-image: a cell
    gets the features of its whole ray, and the backbone decides by the neighbouring cells which
    object on the ray is nearest (Harley et al., "Simple-BEV", ICRA 2023).

    Args:
        mode: one of MODES.
        config: the network, with a camera.
        seed: seed of the weights.

    Raises:
        TinyBevError: the mode is unknown.
    """

    def __init__(self, mode: str, config: ModelConfig = CONFIG.network, seed: int = 0) -> None:
        if mode not in MODES:
            raise TinyBevError(f'mode is {mode!r}; expected one of {", ".join(MODES)}')
        fused_channels = config.pfn_channels if mode == 'camera' else config.out_channels
        super().__init__(build_network(config, seed, fused_channels))
        self.mode = mode

    def features(
        self,
        points: list[Tensor],
        grids: list[BevGrid],
        images: Tensor | None,
        cameras: Sequence[Sequence[Camera | None]],
    ) -> Tensor:
        """Computes the BEV features of the mode; in 'fused', those of the LiDAR come first."""
        network = self.network
        if self.mode == 'lidar':
            return network.encode_bev(points, grids)
        if self.mode == 'camera':
            assert images is not None
            assert network.fusion is not None
            size = (len(points), network.fusion.channels, *grids[0].shape)
            empty = torch.zeros(size, device=images.device)
            fused = network.fuse_cameras(empty, grids[0], images, cameras)
            return network.backbone(fused)
        return super().features(points, grids, images, cameras)


def select_inputs(sample: Sample, mode: str) -> Sample:
    """Removes the inputs that a mode lacks: points in 'camera', images in 'lidar'."""
    if mode == 'camera':
        return sample._replace(points=sample.points[:0])
    return sample._replace(images=None, cameras=()) if mode == 'lidar' else sample


class ModeSamples(Dataset):
    """Samples with the inputs of one mode.

    Args:
        samples: samples with images.
        mode: one of MODES.
    """

    def __init__(self, samples: CameraSamples, mode: str) -> None:
        self._samples, self._mode = samples, mode

    def __len__(self) -> int:
        """Number of items."""
        return len(self._samples)

    def __getitem__(self, index: int) -> list[Sample]:
        """Makes the samples of item ``index``."""
        return [select_inputs(sample, self._mode) for sample in self._samples[index]]


def train(
    mode: str, config: TrainConfig, frames: Sequence[CameraFrame] | CameraFrames, folder: Path
) -> ModeDetector:
    """Trains the network of a mode and returns it; a run that was stopped is resumed.

    Args:
        mode: one of MODES.
        config: the run.
        frames: frames to train on.
        folder: folder of checkpoint and log.
    """
    count, heads = config.steps * config.batch, config.network.heads
    samples = CameraSamples(frames, count, config.crop, config.seed, heads)
    model = ModeDetector(mode, config.network, config.seed)
    trainer = Trainer(config, ModeSamples(samples, mode), folder, model=model)
    trainer.run()
    model.network.load_state_dict(trainer.average.network.state_dict())
    return model.eval()


def make_batch(frame: CameraFrame, mode: str, unplugged: bool = False) -> Batch:
    """Makes a batch of one frame.

    Args:
        frame: the frame.
        mode: one of MODES.
        unplugged: true to leave the camera out.
    """
    batch = collate([[select_inputs(make_camera_sample(frame, CONFIG.crop), mode)]])
    missing: list[list[Camera | None]] = [[None] * len(cameras) for cameras in batch.cameras]
    return batch._replace(cameras=missing) if unplugged else batch


@torch.inference_mode()
def detect(model: ModeDetector, frame: CameraFrame, unplugged: bool = False) -> Detections:
    """Returns the objects that a network detects in one frame, on the CPU.

    Args:
        model: the trained network.
        frame: the frame.
        unplugged: true to leave the camera out.
    """
    device = next(model.parameters()).device
    batch = make_batch(frame, model.mode, unplugged).to(device)
    features = model.features(batch.points, [GRID], batch.images, batch.cameras)
    head = cast(DetectionHead, model.network.heads['detection'])
    outputs = head(features[-1:])
    grid = GRID.strided(CONFIG.crop.stride)
    return decode(outputs, grid, (MIN_SCORE,) * len(CLASSES), head.calibration)[0]


@dataclass
class ClassAP:
    """Average precision of each class by BEV IoU.

    Attributes:
        rankings: detections of each class.
    """

    rankings: list[Ranking] = field(default_factory=lambda: [Ranking() for _ in CLASSES])

    def add(self, frame: Frame, detections: Detections) -> None:
        """Adds one frame; objects of fewer than five points, or off the map, are not required."""
        boxes = frame.boxes
        (x_low, x_high), (y_low, y_high) = GRID.x_range, GRID.y_range
        x, y = boxes[:, 0], boxes[:, 1]
        inside = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
        counts = inside & (frame.counts >= MIN_POINTS)
        for label, ranking in enumerate(self.rankings):
            labelled, detected = frame.labels == label, detections.labels == label
            iou = iou_bev(detections.boxes[detected], torch.from_numpy(boxes[labelled])).numpy()
            scores = detections.scores[detected].numpy()
            dont_care = np.zeros(len(scores), bool)
            ranking.add(scores, iou, counts[labelled], MIN_IOU[label], dont_care)

    def precisions(self) -> list[float]:
        """Returns the average precision of each class."""
        return [ranking.average_precision() for ranking in self.rankings]

    def mean(self) -> float:
        """Returns the mean of the average precision over the classes."""
        return float(np.mean(self.precisions()))
