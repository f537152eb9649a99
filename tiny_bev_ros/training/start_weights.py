# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Start weights: the weights with which a training starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.checkpoint.loading import load_checkpoint
from tiny_bev_ros.models.checkpoint.metadata import (
    CheckpointMetadata,
    read_metadata,
)
from tiny_bev_ros.models.checkpoint.safetensors_file import read_header
from tiny_bev_ros.models.heads.refinement import REFINEMENT
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.training.trainable_detector import lidar_arguments
from tiny_bev_ros.training.training_config import SIM_CAMERA, TrainConfig


class StartWeights(NamedTuple):
    """Identity of the start weights of a training.

    Attributes:
        weights: name of shipped weights, or the name of the file.
        sha256: SHA-256 of the file, as 64 hexadecimal digits.
    """

    weights: str
    sha256: str


def load_start_weights(
    weights: str | Path, network: BevDetector, config: TrainConfig
) -> StartWeights:
    """Loads weights into a network that is to be trained; absent parts keep their fresh weights.

    Heads, camera encoder and fusion may be absent from the file; they are named on stderr, as are
    heads of the file that the configuration leaves out. A second stage is no part of a network
    that is trained: `keep_second_stage` copies it into the result.

    Args:
        weights: name of shipped weights, or a file of `train`.
        network: network of the configuration.
        config: the run.

    Raises:
        TinyBevError: the file cannot be read, or is of another network or other cells; the
            network is not changed then.
    """
    path = find_weights(weights)
    metadata = read_metadata(path)
    _check_structure(path.stem, metadata, config)
    present, absent = _split_parts(path, network)
    info = load_checkpoint(path, present)
    heads = list(metadata.network.get('heads', ()))
    # A score calibration belongs to the weights that it was made for, and to a second stage, which
    # takes these scores.
    kept = config.keep_second_stage and REFINEMENT in heads
    for module in network.modules():
        if isinstance(module, ScoreCalibration) and not kept:
            module.reset()
    if absent:
        print(
            f'train: {path.name} has no {", ".join(absent)}; trained from random weights',
            file=sys.stderr,
        )
    if REFINEMENT not in heads and config.keep_second_stage:
        print(
            f'train: {path.name} has no second stage; keep_second_stage has no effect',
            file=sys.stderr,
        )
    if REFINEMENT in heads and not config.keep_second_stage:
        print(
            f'train: {path.name} has a second stage, which is not taken over; '
            'keep_second_stage: true copies it',
            file=sys.stderr,
        )
    left_out = [name for name in heads if name not in (*config.network.heads, REFINEMENT)]
    if left_out:
        print(
            f'train: {path.name} has {", ".join(left_out)}, which network.heads leaves out',
            file=sys.stderr,
        )
    return StartWeights(path.name, info['pfn'].digest)


@torch.no_grad()
def mix_weights(network: nn.Module, old: nn.Module, old_fraction: float) -> None:
    """Moves trained weights back towards old ones, so that less is forgotten.

    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022. Parts that the old
    network lacks and score calibrations stay.

    Args:
        network: network whose weights are changed.
        old: network with the old weights.
        old_fraction: fraction of the old weights in the result.
    """
    values = old.state_dict()
    for prefix, module in network.named_modules():
        if isinstance(module, ScoreCalibration):
            for name in module.state_dict():
                values.pop(f'{prefix}.{name}', None)
    for name, tensor in network.state_dict().items():
        if name in values and tensor.is_floating_point():
            tensor.lerp_(values[name].to(tensor.device), old_fraction)


def _check_structure(name: str, metadata: CheckpointMetadata, config: TrainConfig) -> None:
    """Compares the network of a configuration with that of weights; heads may differ."""
    own = {f'network.{key}': value for key, value in lidar_arguments(config.network).items()}
    own |= {'crop.resolution': config.crop.resolution, 'crop.z_range': config.crop.z_range}
    expected = {f'network.{key}': value for key, value in metadata.network.items()}
    expected |= {'crop.resolution': metadata.cell, 'crop.z_range': tuple(metadata.z_range)}
    for key, value in own.items():
        if key != 'network.heads' and key in expected and value != expected[key]:
            raise TinyBevError(f'{key} is {value}; expected {expected[key]}, as in {name}')
    # Frames with images have the nominal mounting.
    if metadata.levelled and not config.mountings.levelled and config.data != SIM_CAMERA:
        raise TinyBevError(f'mountings.levelled is False; expected True, as in {name}')


def _split_parts(path: Path, network: BevDetector) -> tuple[Mapping[str, nn.Module], list[str]]:
    """Returns the parts of a network that a file holds, and the names of those it lacks."""
    with path.open('rb') as file:
        names = list(read_header(file))
    parts: dict[str, nn.Module] = {}
    absent = []
    for name, part in network.named_children():
        if isinstance(part, nn.ModuleDict):  # heads may be absent one by one
            found = {key: head for key, head in part.items() if _holds(names, f'{name}.{key}')}
            absent += [f'{name}.{key}' for key in part if key not in found]
            if found:
                parts[name] = nn.ModuleDict(found)
        elif name in ('pfn', 'backbone') or _holds(names, name):
            parts[name] = part
        else:
            absent.append(name)
    return parts, absent


def _holds(names: list[str], prefix: str) -> bool:
    return any(name.startswith(f'{prefix}.') for name in names)
