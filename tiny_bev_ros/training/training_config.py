# SPDX-License-Identifier: Apache-2.0
"""What a training run is told, and how it is read from YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import list_heads
from tiny_bev_ros.models.registry import list_backbones
from tiny_bev_ros.sim import LIDARS
from tiny_bev_ros.text_file import read_text
from tiny_bev_ros.training.dataset import Crop
from tiny_bev_ros.training.labelled_frame import Augmentation


@dataclass(frozen=True)
class ModelConfig:
    """Which network is trained.

    Attributes:
        backbone: of the registry.
        pfn_channels: of a pillar's features.
        mid_channels, out_channels: of the backbone.
        heads: names of heads.
    """

    backbone: str = 'fpn'
    pfn_channels: int = 32
    mid_channels: int = 48
    out_channels: int = 64
    heads: tuple[str, ...] = ('detection', 'drivable')


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        data: 'sim', or a folder in the form of KITTI's object benchmark.
        lidars: sensors of the simulator.
        steps: updates of the weights.
        batch: frames of each step and process; two samples are cut from each.
        learning_rate: at its highest.
        weight_decay: of AdamW.
        warm_up: part of the steps in which the learning rate rises.
        seed: of weights, frames and variation.
        precision: of the products: bfloat16 or float32.
        workers: processes that make frames; 0 for none beside the one that learns.
        save_every: steps between checkpoints.
        network: which one.
        piece: what it is shown at a time.
        variation: of frames.
    """

    data: str = 'sim'
    lidars: tuple[str, ...] = ('hdl64', 'hdl32', 'vlp16', 'os1_64', 'os1_128')
    steps: int = 6000
    batch: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.05
    seed: int = 0
    precision: str = 'bfloat16'
    workers: int = 1
    save_every: int = 200
    network: ModelConfig = field(default_factory=ModelConfig)
    piece: Crop = field(default_factory=Crop)
    variation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _one_of('precision', self.precision, ('bfloat16', 'float32'))
        _one_of('network.backbone', self.network.backbone, list_backbones())
        for head in self.network.heads:
            _one_of('network.heads', head, list_heads())
        for lidar in self.lidars:
            _one_of('lidars', lidar, list(LIDARS))
        for name in ('steps', 'batch', 'save_every'):
            if getattr(self, name) < 1:
                raise TinyBevError(f'{name} is {getattr(self, name)}; expected 1 or more')
        self.piece.grid(0.0, 0.0)  # refuses sizes that fit no grid


def read_config(path: str | Path) -> TrainConfig:
    """A run from a YAML file; what it does not say has its default.

    Raises:
        TinyBevError: it cannot be read, or says something unknown or wrong.
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
    """A dataclass of this module from nested dicts, strictly checked."""
    if not isinstance(values, dict):
        raise TinyBevError(f'{prefix or "the whole"} is {values!r}; expected names and values')
    hints = get_type_hints(kind)
    known = [each.name for each in dataclasses.fields(kind)]
    made = {}
    for name, value in values.items():
        if name not in known:
            raise TinyBevError(f'{prefix}{name} is not known; expected one of {", ".join(known)}')
        made[name] = _value(f'{prefix}{name}', hints[name], value)
    return kind(**made)


def _value(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, f'{name}.')  # type: ignore[arg-type]
    if getattr(hint, '__origin__', None) is tuple:
        if not isinstance(value, (list, tuple)):
            raise TinyBevError(f'{name} is {value!r}; expected a list')
        return tuple(_value(name, hint.__args__[0], each) for each in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise TinyBevError(f'{name} is {value!r}; expected a {hint.__name__}')
    return value


def _one_of(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise TinyBevError(f'{name} is {value!r}; expected one of {", ".join(known)}')
