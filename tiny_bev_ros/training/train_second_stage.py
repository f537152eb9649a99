# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Adds a second stage to a weight file of train, and writes all networks to a new file.

The networks of the file detect objects in frames that they were not trained on, and the second
stage learns to fit their boxes and scores. A run that was stopped is resumed when it is called
again with the same arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import load_weights_with_digest
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.source_commit import commit_of_source
from tiny_bev_ros.training.box_sample_files import SampleSource, read_samples, write_samples
from tiny_bev_ros.training.box_samples import STORED
from tiny_bev_ros.training.frame_sources import frame_source
from tiny_bev_ros.training.second_stage import SecondStageTrainer
from tiny_bev_ros.training.second_stage_file import add_second_stage
from tiny_bev_ros.training.train import WEIGHTS
from tiny_bev_ros.training.training_config import TrainConfig, read_config

# Difference of seeds between the frames of train and those of the second stage.
_SEED_OFFSET = 500


def train_second_stage(config: TrainConfig, weights: Path, folder: Path, command: str) -> Path:
    """Trains a second stage for the networks of a file.

    Args:
        config: the run; its network is not used, as the file has its own.
        weights: file of trained networks; a second stage in it is replaced.
        folder: folder of samples, checkpoint, log and result.
        command: command line, which is recorded in the weights.

    Returns:
        Path of the new file.

    Raises:
        TinyBevError: the file cannot be used, ``mountings.levelled`` differs from that of the
            weights, or the folder is of another run.
    """
    network, metadata, digest = load_weights_with_digest(weights)
    if config.levelled != metadata.levelled:
        raise TinyBevError(
            f'mountings.levelled is {config.levelled}; expected {metadata.levelled}, as '
            f'in {weights.name}'
        )
    frame = frame_source(dataclasses.replace(config, seed=config.seed + _SEED_OFFSET))
    for remark in frame.remarks:
        print(f'train_second_stage: {remark}', file=sys.stderr)
    settings = config.second_stage
    source = SampleSource(weights, frame, settings, config.seed)
    write_samples(source, folder / 'samples', _sample_origin(config, digest))
    samples = read_samples(folder / 'samples', settings)
    head = SecondStageTrainer(settings, samples, folder, config.seed).run()
    origin = {
        'config': dataclasses.asdict(config),
        'commit': commit_of_source(),
        'command': command,
        'base_weights': digest,
    }
    add_second_stage(folder / WEIGHTS, network, metadata, head, origin)
    return folder / WEIGHTS


def _sample_origin(config: TrainConfig, digest: str) -> dict[str, Any]:
    """Returns the values on which the samples depend."""
    values = dataclasses.asdict(config)
    second_stage = values.pop('second_stage')
    of_frames = {name: second_stage[name] for name in ('rotated', 'scaling')}
    return {**values, **of_frames, 'crops': STORED._asdict(), 'weights': digest}


@reports_errors('train_second_stage')
def main() -> int:
    """Runs the train_second_stage executable; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog='train_second_stage', description=__doc__.partition('\n')[0]
    )
    parser.add_argument(
        '--weights', required=True, help='name of shipped weights, or a file of train'
    )
    parser.add_argument(
        '--config',
        required=True,
        help='YAML file of the run, of which frames, seed and second_stage count; '
        'config/training/street.yaml explains the keys',
    )
    parser.add_argument(
        '--output', default='build/second_stage', help='folder (default: build/second_stage)'
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of PyTorch (default: its own choice)'
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    command = (
        f'train_second_stage --weights {Path(options.weights).name} '
        f'--config {Path(options.config).name}'
    )
    weights, config = find_weights(options.weights), read_config(options.config)
    path = train_second_stage(config, weights, Path(options.output), command)
    print(f'written: {path}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
