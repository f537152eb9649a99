# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Adaptation of weights to an unlabelled recording, by self-training with a mean teacher.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017: the average of the
weights labels the recording anew in every round, and the weights are trained on these labels.
Simulated frames are mixed in, so that less is forgotten.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.mounting_tracker import track_clouds
from tiny_bev_ros.models.checkpoint.metadata import (
    CheckpointMetadata,
    load_weights,
    load_weights_with_digest,
    save_weights,
)
from tiny_bev_ros.models.heads.head_registry import list_heads
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.training.adaptation_report import compare
from tiny_bev_ros.training.augment import Augmentation
from tiny_bev_ros.training.dataset import Crop, Crops
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.plots import draw_losses
from tiny_bev_ros.training.pseudo_labels import LabelledRun, label_runs
from tiny_bev_ros.training.recorded_lidar import recorded_lidar
from tiny_bev_ros.training.simulated_lidar import Mountings, simulate_lidar_frame
from tiny_bev_ros.training.start_weights import StartWeights, mix_weights
from tiny_bev_ros.training.train import WEIGHTS, describe
from tiny_bev_ros.training.trainable_detector import TrainableDetector
from tiny_bev_ros.training.trainer import CHECKPOINT, LOG, Trainer
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig, from_dict

OLD_WEIGHTS = 'old_weights.safetensors'
REPORT = 'adaptation.json'
_TEACHER = 'teacher.safetensors'
# Frames of a step: a recorded one, one simulated with the scan pattern of the recording, and one
# with the sensors that the weights were trained on.
_KINDS = 3
# Fraction of the adapted weights in those that are written; the rest are the old ones.
_ADAPTED = 0.6
# Number of times that the recording is labelled for training.
_ROUNDS = 2
# Cells of a crop, and of the map on which clouds are labelled, to each side of the sensor.
_CROP_CELLS, _MAP_CELLS = 192, 256
# Seed of the first simulated frame; far from those of training and evaluation.
_FIRST_SEED = 500_000_000


@dataclass
class MixedFrames:
    """Recorded frames and simulated ones in turn.

    Attributes:
        recorded: labelled frames of the recording.
        scanned: function that simulates a frame with the scan pattern of the recording, from a
            seed.
        known: function that simulates a frame with a sensor that the weights were trained on.
    """

    recorded: list[Frame]
    scanned: Callable[[int], Frame]
    known: Callable[[int], Frame]

    def __call__(self, index: int) -> Frame:
        """Returns frame ``index``; each epoch has the recorded ones in an order of its own."""
        number, kind = divmod(index, _KINDS)
        if kind:
            return (self.scanned if kind == 1 else self.known)(_FIRST_SEED + index)
        epoch, position = divmod(number, len(self.recorded))
        order = np.random.default_rng((7, epoch)).permutation(len(self.recorded))
        return self.recorded[order[position]]


def adaptation_config(metadata: CheckpointMetadata, steps: int) -> TrainConfig:
    """Returns the configuration with which weights are adapted.

    Args:
        metadata: metadata of the weights.
        steps: number of updates of the weights.

    Raises:
        TinyBevError: mountings or augmentation of the weights have unknown keys or wrong types.
    """
    # A second stage, which takes boxes in place of BEV features, stays as it is.
    heads = tuple(name for name in metadata.network['heads'] if name in list_heads())
    config = metadata.origin.get('config', {})
    trained_on = config.get('lidars', ())
    crop = Crop(_CROP_CELLS * metadata.cell, metadata.cell, metadata.z_range)
    return TrainConfig(
        lidars=tuple(name for name in trained_on if name in LIDARS) or TrainConfig.lidars,
        mountings=from_dict(Mountings, config.get('mountings', {}), 'mountings.'),
        steps=steps,
        batch=_KINDS,
        learning_rate=3e-4,
        warmup_fraction=0.1,
        workers=0,
        network=ModelConfig(**{**metadata.network, 'heads': heads}),
        crop=crop,
        # With less than the weights were trained with, heights of other sensors are forgotten.
        augmentation=from_dict(Augmentation, config.get('augmentation', {}), 'augmentation.'),
    )


def adapt(
    weights: str | Path,
    runs: Iterable[Sequence[np.ndarray]],
    folder: Path,
    steps: int,
    command: str = '',
) -> str:
    """Adapts weights to recorded clouds.

    Writes into the folder: the adapted weights, the old ones, the report as JSON, log and curves.

    Args:
        weights: name of shipped weights, or a file of `train`.
        runs: runs of successive clouds (N,4) float32.
        folder: folder of the results, which must be new.
        steps: number of updates of the weights.
        command: command line, which is recorded in the weights.

    Returns:
        Report in Markdown.

    Raises:
        TinyBevError: the folder is not empty, the weights cannot be used, or nothing in the
            recording becomes a label.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TinyBevError(f'output is {folder}, which is not empty; expected a new folder')
    path = find_weights(weights)
    network, old, digest = load_weights_with_digest(path)
    config = adaptation_config(old, steps)
    start = StartWeights(path.name, digest)
    detector = make_detector(path, config)
    recording = [list(run) for run in runs]
    lidar = recorded_lidar([points for run in recording for points in run])
    level, scanned_mountings = _mounting(recording, old.levelled, config.mountings)
    clouds = [[_crop(level(points), detector) for points in run] for run in recording]
    del recording
    before = label_runs(detector, clouds)
    frames = MixedFrames(
        labelled_frames(before),
        partial(simulate_lidar_frame, lidars=(lidar,), mountings=scanned_mountings),
        partial(simulate_lidar_frame, lidars=config.lidars, mountings=config.mountings),
    )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / OLD_WEIGHTS)
    dataset = Crops(
        frames,
        config.steps * config.batch,
        config.crop,
        config.seed,
        config.augmentation,
        per_frame=1,
        heads=config.network.heads,
    )
    trainer = Trainer(config, dataset, folder, None, TrainableDetector(network), start)
    # The network of the old weights, with any part that is not trained here.
    metadata = replace(
        describe(config, command, start), network=old.network, levelled=old.levelled
    )
    after = before
    for number in range(1, _ROUNDS + 1):
        frames.recorded = labelled_frames(after)
        trainer.run(until=math.ceil(steps * number / _ROUNDS))
        if number == _ROUNDS:
            mix_weights(trainer.average.network, load_weights(path)[0], 1 - _ADAPTED)
        save_weights(folder / WEIGHTS, trainer.average.network, metadata)
        after = label_runs(make_detector(folder / WEIGHTS, config), clouds)
    (folder / CHECKPOINT).unlink()  # cannot be resumed, as labels of earlier rounds are gone
    draw_losses(folder / LOG, folder / 'curves.png')
    report = compare(before, after)
    (folder / REPORT).write_text(json.dumps(report.values, indent=1))
    return report.markdown()


def make_detector(path: Path, config: TrainConfig) -> Detector:
    """Returns the detector that labels clouds, on a map around the sensor."""
    side = _MAP_CELLS * config.crop.resolution
    # The clouds are level already, and their mirror images would disturb an estimate of tilts.
    return Detector(path, (-side, side), (-side, side), sensor_height=NOMINAL_HEIGHT)


def labelled_frames(runs: Sequence[LabelledRun]) -> list[Frame]:
    """Returns the frames of all runs.

    Raises:
        TinyBevError: no object in them is a label.
    """
    frames = [frame for run in runs for frame in run.frames]
    if not any((frame.instance_ids >= 0).any() for frame in frames):
        raise TinyBevError(
            f'labels are 0 in {len(frames)} clouds; expected objects that the weights detect in '
            'successive clouds and their mirror images'
        )
    return frames


def _mounting(
    recording: Sequence[Sequence[np.ndarray]], levelled: bool, trained: Mountings
) -> tuple[Callable[[np.ndarray], np.ndarray], Mountings]:
    """Estimates the mounting of the sensor that recorded clouds.

    Args:
        recording: runs of successive clouds (N,4) float32, all of one sensor.
        levelled: true for weights that take levelled clouds; others take them as they are.
        trained: mountings of the training of the weights.

    Returns:
        Function that levels a cloud, and mountings with the height of the sensor.
    """
    if not levelled:
        return lambda points: points, trained
    state, levelling = track_clouds(points for run in recording for points in run)
    estimate = state.estimate
    if estimate is None:
        return lambda points: points, trained
    heights = (max(estimate.height, 0.0),) * 2
    mountings = replace(trained, heights=heights, usual=0.0, max_tilt=None)
    return levelling.points if levelling else lambda points: points, mountings


def _crop(points: np.ndarray, detector: Detector) -> np.ndarray:
    """Returns the points on the map, as far ones would take memory for nothing."""
    (x_low, x_high), (y_low, y_high) = detector.grid.x_range, detector.grid.y_range
    x, y = points[:, 0], points[:, 1]
    inside = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
    return np.ascontiguousarray(points[inside, :4], np.float32)
