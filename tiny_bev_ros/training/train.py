# SPDX-License-Identifier: Apache-2.0
"""Trains pillars, backbone and heads, on simulated streets or on a folder like KITTI's.

Stopped and called again with the same arguments, it goes on where it was. On several devices:
torchrun --nproc-per-node 2 -m tiny_bev_ros.training.train --config ...
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, save_weights
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.training.dataset import Crop, Crops
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.plots import draw_curves
from tiny_bev_ros.training.simulated import simulated
from tiny_bev_ros.training.trainer import Trainer, find_distributed_context
from tiny_bev_ros.training.training_config import ModelConfig, TrainConfig, read_config

WEIGHTS = 'weights.safetensors'
# Simulated frames of lower numbers are for evaluation.
FIRST_SEED = 1_000_000


def smoke_config() -> TrainConfig:
    """A run of less than a minute, of a small network, that already finds near cars."""
    return TrainConfig(
        lidars=('hdl64',),
        steps=140,
        batch=1,
        learning_rate=6e-3,
        warm_up=0.1,
        precision='float32',
        save_every=70,
        network=ModelConfig(pfn_channels=16, mid_channels=16, out_channels=32),
        piece=Crop(size=32.0),
    )


def frame_of(config: TrainConfig) -> Any:
    """What makes frame i of a run."""
    if config.data == 'sim':
        return partial(_simulated, lidars=config.lidars, seed=config.seed)
    folder = KittiFolder(config.data)
    if folder.remark:
        print(f'train: {folder.remark}', file=sys.stderr)
    return partial(_recorded, folder=folder, seed=config.seed)


def _simulated(index: int, lidars: tuple[str, ...], seed: int) -> Frame:
    return simulated(FIRST_SEED * (seed + 1) + index, lidars)


def _recorded(index: int, folder: KittiFolder, seed: int) -> Frame:
    # Each frame once in an epoch, in an order of its own.
    epoch, place = divmod(index, len(folder))
    order = np.random.default_rng((seed, epoch)).permutation(len(folder))
    return folder.frame(folder.names[order[place]])


def train(config: TrainConfig, folder: Path, command: str) -> Path | None:
    """Trains, and writes weights, log and curves; returns the weights' path.

    Of several processes only the first one writes, and None is returned by the others.
    """
    if why_not := import_optional('safetensors.torch').why_not:  # not to say so after an hour
        raise TinyBevError(f'{why_not}; expected it, as weights are written with it')
    place = find_distributed_context()
    count = config.steps * config.batch * place.world
    heads = config.network.heads
    frames = Crops(
        frame_of(config), count, config.piece, config.seed, config.variation, heads=heads
    )
    training = Trainer(config, frames, folder, place)
    training.run()
    if not place.first:
        return None
    network = dataclasses.asdict(config.network)
    description = CheckpointMetadata(
        network,
        config.piece.cell,
        config.piece.z_range,
        {'config': dataclasses.asdict(config), 'commit': commit_of_source(), 'command': command},
    )
    save_weights(folder / WEIGHTS, training.network, description)
    draw_curves(folder / 'log.csv', folder / 'curves.png')
    return folder / WEIGHTS


def commit_of_source() -> str:
    """Where it lies in a git repository; 'dirty' where it was changed since."""
    if not (git := shutil.which('git')):
        return 'unknown'
    try:
        done = subprocess.run(  # noqa: S603
            [git, '-C', str(Path(__file__).parent), 'describe', '--always', '--dirty'],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return done.stdout.strip()


def main() -> int:
    """Entry point of the train executable; returns its exit code."""
    parser = argparse.ArgumentParser(prog='train', description=__doc__.partition('\n')[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--config', help='YAML file; config/train.yaml explains what is in it')
    source.add_argument('--smoke', action='store_true', help='a run of less than a minute')
    parser.add_argument('--output', default='build/train', help='folder (default: build/train)')
    parser.add_argument('--threads', type=int, default=0, help='of PyTorch (default: its own)')
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    given = '--smoke' if options.smoke else f'--config {Path(options.config).name}'
    try:
        config = smoke_config() if options.smoke else read_config(options.config)
        path = train(config, Path(options.output), f'train {given}')
    except TinyBevError as error:
        print(f'train: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if path:
        print(f'weights in {path}, curves beside them')
    return 0


if __name__ == '__main__':
    sys.exit(main())
