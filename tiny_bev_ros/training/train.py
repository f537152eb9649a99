# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Trains pillars, backbone and heads, and camera encoder and fusion if the network has them.

Data are simulated streets, or a folder in KITTI's form. A run that was stopped is resumed when
it is called again with the same arguments. On several devices:
torchrun --nproc-per-node 2 -m tiny_bev_ros.training.train --config ...
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import Dataset

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, load_weights, save_weights
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.source_commit import commit_of_source
from tiny_bev_ros.training.augment import Augmentation
from tiny_bev_ros.training.camera_dataset import CameraFrames, CameraSamples
from tiny_bev_ros.training.dataset import Crop, Crops
from tiny_bev_ros.training.distributed import init_distributed
from tiny_bev_ros.training.frame_sources import frame_source
from tiny_bev_ros.training.plots import draw_losses
from tiny_bev_ros.training.second_stage_file import (
    SecondStage,
    add_second_stage,
    load_second_stage,
)
from tiny_bev_ros.training.start_weights import (
    StartWeights,
    load_start_weights,
    mix_weights,
)
from tiny_bev_ros.training.trainable_detector import (
    TrainableDetector,
    build_network,
    lidar_arguments,
)
from tiny_bev_ros.training.trainer import LOG, Trainer
from tiny_bev_ros.training.training_config import (
    SIM_CAMERA,
    ModelConfig,
    TrainConfig,
    read_config,
)

WEIGHTS = 'weights.safetensors'


def smoke_config() -> TrainConfig:
    """Returns a run of less than a minute, of a small network that already finds near cars."""
    return TrainConfig(
        lidars=('hdl64',),
        steps=140,
        batch=1,
        learning_rate=6e-3,
        warmup_fraction=0.1,
        precision='float32',
        save_every=70,
        network=ModelConfig(pfn_channels=16, mid_channels=16, out_channels=32),
        crop=Crop(size=32.0),
        # Any angle and larger shifts take more steps to learn.
        augmentation=Augmentation(any_angle=0.0, z_jitter=0.08),
    )


def make_dataset(config: TrainConfig, count: int, folder: Path) -> Dataset:
    """Makes the dataset of a run.

    Args:
        config: the run.
        count: number of items.
        folder: folder of the run, in which simulated frames with images are kept.
    """
    heads = config.network.heads
    if config.data == SIM_CAMERA:
        frames = CameraFrames(folder / 'frames', range(config.frames))
        return CameraSamples(frames, count, config.crop, config.seed, heads)
    source = frame_source(config)
    for remark in source.remarks:
        print(f'train: {remark}', file=sys.stderr)
    return Crops(source, count, config.crop, config.seed, config.augmentation, heads=heads)


def train(
    config: TrainConfig, folder: Path, command: str, start_from: str | Path | None = None
) -> Path | None:
    """Trains; writes averaged weights, log and curves into a folder.

    Args:
        config: the run.
        folder: folder of the results; a checkpoint in it is resumed.
        command: command line, which is recorded in the weights.
        start_from: start weights, by name or path; None for random ones.

    Returns:
        Path of the weights; None in all processes but the main one, which alone writes.

    Raises:
        TinyBevError: safetensors is missing, no weights are given of which the configuration
            keeps something, or see `Trainer` and `load_start_weights`.
    """
    if reason := import_optional('safetensors.torch').reason:  # reported before hours of training
        raise TinyBevError(f'{reason}; expected safetensors, which writes the weights')
    if not start_from and (config.keep_second_stage or config.start_weights_fraction):
        raise TinyBevError(
            'start_from is not given; expected weights, as the configuration has '
            'keep_second_stage or start_weights_fraction'
        )
    context = init_distributed()
    network = build_network(config.network, config.seed)
    start = load_start_weights(start_from, network, config) if start_from else None
    dataset = make_dataset(config, config.steps * config.batch * context.world_size, folder)
    trainer = Trainer(config, dataset, folder, context, TrainableDetector(network), start)
    # Loaded before the training, after which the file may be another.
    kept = _load_kept(config, start_from)
    trainer.run()
    if not context.is_main:
        return None
    average = cast(BevDetector, trainer.average.network)
    if kept.network is not None:
        mix_weights(average, kept.network, config.start_weights_fraction)
    metadata = describe(config, command, start)
    if kept.second_stage:
        add_second_stage(folder / WEIGHTS, average, metadata, *kept.second_stage)
    else:
        save_weights(folder / WEIGHTS, average, metadata)
    draw_losses(folder / LOG, folder / 'curves.png')
    return folder / WEIGHTS


class _Kept(NamedTuple):
    """Parts of the start weights that the written weights take over; None for none."""

    network: BevDetector | None
    second_stage: SecondStage | None


def _load_kept(config: TrainConfig, start_from: str | Path | None) -> _Kept:
    network, second_stage = None, None
    if start_from and config.start_weights_fraction:
        network = load_weights(find_weights(start_from))[0]
    if start_from and config.keep_second_stage:
        second_stage = load_second_stage(find_weights(start_from))
    return _Kept(network, second_stage)


def describe(
    config: TrainConfig, command: str, start: StartWeights | None = None
) -> CheckpointMetadata:
    """Returns the metadata of the weights of a run; the network is that without cameras."""
    origin: dict[str, Any] = {
        'config': dataclasses.asdict(config),
        'commit': commit_of_source(),
        'command': command,
    }
    if start:
        origin['start_from'] = start._asdict()
    network, crop = lidar_arguments(config.network), config.crop
    return CheckpointMetadata(network, crop.resolution, crop.z_range, origin, config.levelled)


@reports_errors('train')
def main() -> int:
    """Runs the train executable; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog='train',
        description=__doc__.partition('\n')[0],
        epilog='`train --adapt BAG --help` explains how weights are adapted to a recording.',
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--config', help='YAML file of the run; config/training/street.yaml explains the keys'
    )
    source.add_argument('--smoke', action='store_true', help='train for less than a minute')
    parser.add_argument(
        '--start-from', help='start weights: name of shipped weights, or a file of train'
    )
    parser.add_argument('--output', default='build/train', help='folder (default: build/train)')
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of PyTorch (default: its own choice)'
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    command = 'train --smoke' if options.smoke else f'train --config {Path(options.config).name}'
    if options.start_from:
        command += f' --start-from {Path(options.start_from).name}'
    try:
        config = smoke_config() if options.smoke else read_config(options.config)
        path = train(config, Path(options.output), command, options.start_from)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if path:
        print(f'written: {path} and curves.png beside it')
    return 0


if __name__ == '__main__':
    sys.exit(main())
