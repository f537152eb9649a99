# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Configuration of a training run, read from YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import list_heads
from tiny_bev_ros.models.fusion.futr import MODES
from tiny_bev_ros.models.registry import list_backbones
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.text_file import read_text
from tiny_bev_ros.training.augment import Augmentation
from tiny_bev_ros.training.dataset import Crop
from tiny_bev_ros.training.second_stage_config import SecondStageConfig
from tiny_bev_ros.training.simulated_lidar import Mountings

# Values of `data` that name the simulator; any other value is a folder.
SIM, SIM_CAMERA = 'sim', 'sim_camera'
_TYPE_NAMES = {int: 'a whole number', float: 'a number', str: 'a string', bool: 'true or false'}


@dataclass(frozen=True)
class CameraConfig:
    """Camera encoder and fusion of a network.

    Attributes:
        encoder: 'tiny', or a network of timm.
        channels: channels of the camera features.
        stride: pixels per camera feature, along both axes.
        fusion: 'projected' or 'global', see `FuTrFusion`.
        num_heads: attention heads of the fusion.
        heights: heights above the sensor, in metres, at which cells are projected into images.
    """

    encoder: str = 'tiny'
    channels: int = 64
    stride: int = 4
    fusion: str = 'projected'
    num_heads: int = 4
    heights: tuple[float, ...] = (-1.5, -0.5, 0.5, 1.5)


@dataclass(frozen=True)
class ModelConfig:
    """Network that is trained.

    Attributes:
        backbone: name in the registry of backbones.
        pfn_channels: channels of the features of a pillar.
        mid_channels: channels inside the backbone.
        out_channels: channels of the BEV features.
        heads: registered names of the heads, at least one.
        camera: camera encoder and fusion; None for a network of LiDAR alone.
    """

    backbone: str = 'fpn'
    pfn_channels: int = 32
    mid_channels: int = 48
    out_channels: int = 64
    heads: tuple[str, ...] = ('detection', 'drivable')
    camera: CameraConfig | None = None


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a training run.

    Attributes:
        data: 'sim' for simulated LiDAR frames, 'sim_camera' for simulated frames with a camera
            image, or a folder in the form of KITTI's object benchmark.
        lidars: names of simulated sensors, one of which is drawn for each simulated frame.
        mountings: range of the mountings of these sensors; `levelled` holds for a folder, too,
            whose clouds are then levelled by the mounting that is estimated from them.
        simulated_fraction: fraction of the frames of a run on a folder that are simulated
            instead, with these sensors, so that less is forgotten; below 1.
        frames: number of different frames of 'sim_camera'.
        steps: number of updates of the weights.
        batch: frames of each step and process; two samples are cut from each LiDAR frame.
        learning_rate: highest learning rate.
        weight_decay: weight decay of AdamW.
        warmup_fraction: fraction of the steps in which the learning rate rises.
        ema_decay: fraction of the average of the weights that each step keeps, from 0 to less
            than 1; the average is what is written, 0 writes the last weights.
        keep_second_stage: true to copy the second stage of the start weights into the result, with
            the calibration of the scores that it takes.
        start_weights_fraction: fraction of the start weights in those that are written, so that
            less is forgotten; below 1.
        seed: seed of weights, frames and augmentation.
        precision: compute dtype: bfloat16, float32, or auto for the faster one by the kind of
            the device.
        workers: processes that make frames; 0 makes them in the process that trains.
        save_every: steps between checkpoints.
        network: the network.
        crop: part of a frame that is a sample.
        augmentation: limits of the augmentation of LiDAR frames; 'sim_camera' only mirrors.
        second_stage: settings of the program `train_second_stage`; `train` ignores them.
    """

    data: str = SIM
    lidars: tuple[str, ...] = ('hdl64', 'hdl32', 'vlp16', 'os1_64', 'os1_128')
    mountings: Mountings = field(default_factory=Mountings)
    simulated_fraction: float = 0.0
    frames: int = 2400
    steps: int = 6000
    batch: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_fraction: float = 0.05
    ema_decay: float = 0.999
    keep_second_stage: bool = False
    start_weights_fraction: float = 0.0
    seed: int = 0
    precision: str = 'auto'
    workers: int = 1
    save_every: int = 200
    network: ModelConfig = field(default_factory=ModelConfig)
    crop: Crop = field(default_factory=Crop)
    augmentation: Augmentation = field(default_factory=Augmentation)
    second_stage: SecondStageConfig = field(default_factory=SecondStageConfig)

    @property
    def levelled(self) -> bool:
        """True for a run on levelled clouds; frames with images have the nominal mounting."""
        return self.data != SIM_CAMERA and self.mountings.levelled

    def __post_init__(self) -> None:
        """Checks the values beyond their types.

        Raises:
            TinyBevError: a value is not allowed.
        """
        _check_choice('precision', self.precision, ('bfloat16', 'float32', 'auto'))
        _check_choice('network.backbone', self.network.backbone, list_backbones())
        if not self.network.heads:
            raise TinyBevError(
                f'network.heads is []; expected at least one of {", ".join(list_heads())}'
            )
        for head in self.network.heads:
            _check_choice('network.heads', head, list_heads())
        for lidar in self.lidars:
            _check_choice('lidars', lidar, list(LIDARS))
        for name in ('frames', 'steps', 'batch', 'save_every'):
            if getattr(self, name) < 1:
                raise TinyBevError(f'{name} is {getattr(self, name)}; expected 1 or more')
        for name in ('ema_decay', 'simulated_fraction', 'start_weights_fraction'):
            if not 0 <= getattr(self, name) < 1:
                raise TinyBevError(
                    f'{name} is {getattr(self, name)}; expected from 0 to less than 1'
                )
        if self.simulated_fraction and self.data in (SIM, SIM_CAMERA):
            raise TinyBevError(
                f'simulated_fraction is {self.simulated_fraction}; expected 0, as data is '
                f'{self.data}'
            )
        self._check_labels()
        if not 0 <= self.augmentation.any_angle <= 1:
            raise TinyBevError(
                f'augmentation.any_angle is {self.augmentation.any_angle}; expected from 0 to 1'
            )
        if camera := self.network.camera:
            _check_choice('network.camera.fusion', camera.fusion, MODES)
            if self.data != SIM_CAMERA:
                raise TinyBevError(
                    f'data is {self.data!r}; expected {SIM_CAMERA}, as the network has a camera'
                )
        if self.keep_second_stage:
            _check_second_stage(self.network)
        self.crop.grid(0.0, 0.0)  # raises an error if the size is not a whole number of cells

    def _check_labels(self) -> None:
        """Raises a TinyBevError for a head for which no frame of the run has labels."""
        recorded = self.data not in (SIM, SIM_CAMERA)
        if recorded and 'drivable' in self.network.heads and not self.simulated_fraction:
            raise TinyBevError(
                'network.heads has drivable, for which a folder has no labels; expected '
                '[detection], or simulated_fraction above 0'
            )


def read_config(path: str | Path) -> TrainConfig:
    """Reads the configuration of a run from a YAML file; keys that are left out have defaults.

    Raises:
        TinyBevError: the file cannot be read, or has an unknown key or a wrong value.
    """
    try:
        values = yaml.safe_load(read_text(path)) or {}
    except yaml.YAMLError as error:
        raise TinyBevError(f'{path} cannot be read: {error}') from None
    try:
        return from_dict(TrainConfig, values)
    except TinyBevError as error:
        raise TinyBevError(f'{path}: {error}') from None


def from_dict(kind: type, values: Any, prefix: str = '') -> Any:
    """Builds a dataclass from nested dicts; keys and types are strictly checked.

    Args:
        kind: the dataclass.
        values: its fields by name.
        prefix: names before those of the fields, for errors.

    Raises:
        TinyBevError: a key is unknown, or a value is of another type.
    """
    if not isinstance(values, dict):
        name = prefix.rstrip('.') or 'the configuration'
        raise TinyBevError(f'{name} is {values!r}; expected keys and values')
    hints = get_type_hints(kind)
    fields = {}
    for name, value in values.items():
        if name not in hints:
            raise TinyBevError(f'{prefix}{name} is unknown; expected one of {", ".join(hints)}')
        fields[name] = _value(f'{prefix}{name}', hints[name], value)
    return kind(**fields)


def _value(name: str, hint: Any, value: Any) -> Any:
    """Converts a value to the type of a field: dataclass, tuple, int, float, str or None."""
    if type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, f'{name}.')  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise TinyBevError(f'{name} is {value!r}; expected a list')
        return tuple(_value(name, get_args(hint)[0], item) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise TinyBevError(f'{name} is {value!r}; expected {_TYPE_NAMES[hint]}')
    return value


def _check_second_stage(network: ModelConfig) -> None:
    if network.camera:
        reason = 'the network has a camera'
    elif 'detection' not in network.heads:
        reason = 'network.heads lacks detection'
    else:
        return
    raise TinyBevError(f'keep_second_stage is True; expected False, as {reason}')


def _check_choice(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise TinyBevError(f'{name} is {value!r}; expected one of {", ".join(known)}')
