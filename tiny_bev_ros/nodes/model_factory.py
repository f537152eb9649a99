# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Builds grid, networks, execution config and options from the parameters of a node."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.cloud_normalizer import SelfBox
from tiny_bev_ros.inference.exported_builder import choose_device
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.precision import dtype_name, requested_dtype
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.point_layout import CloudOptions
from tiny_bev_ros.models import (
    CameraEncoder,
    FuTrFusion,
    PillarFeatureNet,
    build_backbone,
    build_heads,
    cuda_unavailable_reason,
    seeded,
)
from tiny_bev_ros.models.checkpoint.loading import load_checkpoint
from tiny_bev_ros.models.checkpoint.metadata import find_metadata
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.heads.refinement import REFINEMENT

# Parameter of the weight file of each network.
CHECKPOINTS = {
    'pfn': 'pfn.checkpoint',
    'backbone': 'backbone.checkpoint',
    'heads': 'heads.checkpoint',
    'camera': 'camera.checkpoint',
    'fusion': 'fusion.checkpoint',
}


def make_device(values: dict[str, Any], logger: Any) -> torch.device:
    """Returns the device of the parameters; logs it, and why `auto` is the CPU."""
    exported_network = values.get('backbone.exported_network')
    device = choose_device(values['device'], exported_network)
    if values['num_threads']:
        torch.set_num_threads(values['num_threads'])
    reason = ''
    if values['device'] == 'auto' and device.type == 'cpu':
        reason = (
            'backbone.exported_network runs there'
            if exported_network
            else cuda_unavailable_reason()
        )
    logger.info(f'device: computing on {device}' + (f', as {reason}' if reason else ''))
    return device


def make_cloud_options(values: dict[str, Any]) -> CloudOptions:
    """Builds the options of clouds from `cloud.*`, which must fit `pfn.in_channels`."""
    channels, time_field = values['pfn.in_channels'], values['cloud.time_field']
    if (channels == 11) != bool(time_field):
        expected = 'the name of a field' if channels == 11 else "''"
        raise TinyBevError(
            f'parameter cloud.time_field is {time_field!r}; '
            f'expected {expected} with pfn.in_channels {channels}'
        )
    with parameter_context('cloud.'):
        return CloudOptions(
            **{each.name: values[f'cloud.{each.name}'] for each in fields(CloudOptions)}
        )


def make_self_box(values: dict[str, Any]) -> SelfBox | None:
    """Returns the box of the robot itself, `cloud.self_box`; None for none."""
    with parameter_context('cloud.'):
        return SelfBox.from_ends(values['cloud.self_box'])


def make_min_scores(values: dict[str, Any]) -> tuple[float, ...]:
    """Returns the lowest score of a reported object, for each class."""
    return tuple(values[f'detection.min_score.{name}'] for name in CLASSES)


def is_levelled(values: dict[str, Any]) -> bool:
    """Returns True if the heads were trained on levelled clouds, by their metadata."""
    path = values['heads.checkpoint'] if values['heads.names'] else ''
    trained = find_metadata(path) if path else None
    return trained is not None and trained.levelled


def check_channels(values: dict[str, Any]) -> None:
    """Refuses a backbone whose input is not the output of the pillar feature net."""
    out_channels, in_channels = values['pfn.out_channels'], values['backbone.in_channels']
    if out_channels != in_channels:
        raise TinyBevError(
            f'parameter backbone.in_channels is {in_channels}; '
            f'expected {out_channels}, as pfn.out_channels'
        )


def load_models(
    values: dict[str, Any],
    logger: Any,
    *,
    pfn: bool = False,
    backbone: bool = False,
    heads: bool = False,
    camera: bool = False,
    fusion: bool = False,
) -> LoadedModels:
    """Builds the requested networks from the parameters, and loads their weights.

    Raises:
        TinyBevError: a parameter or a file is wrong; the message begins with the parameter.
    """
    made: dict[str, Any] = {}
    grid = make_grid(values) if pfn else None
    if pfn:
        with seeded(values['seed']):
            made['pfn'] = PillarFeatureNet(
                values['pfn.in_channels'],
                values['pfn.out_channels'],
                max_points=values['pfn.max_points'] or None,
                legacy_offsets=values['pfn.legacy_offsets'],
            )
    if backbone:
        with parameter_context('backbone.name: '), seeded(values['seed']):
            made['backbone'] = build_backbone(
                values['backbone.name'],
                in_channels=values['backbone.in_channels'],
                mid_channels=values['backbone.mid_channels'],
                out_channels=values['backbone.out_channels'],
            ).eval()
    if heads:
        with seeded(values['seed']):
            made['heads'] = build_heads(
                _head_names(values), values['backbone.out_channels']
            ).eval()
    if camera:
        with parameter_context('camera.'), seeded(values['seed']):
            made['camera'] = CameraEncoder(
                values['camera.encoder'], values['camera.channels'], values['camera.stride']
            ).eval()
    if fusion:
        made['fusion'] = _build_fusion(values)
    digests = {part: _load(part, network, values, logger) for part, network in made.items()}
    if grid is not None:
        _check_grid(grid, values[CHECKPOINTS['pfn']])
    file = values['backbone.exported_network'] if backbone else ''
    exported_network = Path(file).expanduser() if file else None
    return LoadedModels(**made, grid=grid, digests=digests, exported_network=exported_network)


def _head_names(values: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names of the heads, and of the second stage where it is used and trained."""
    names = tuple(values['heads.names'])
    if not values.get('detection.refine_boxes') or 'detection' not in names:
        return names
    path = values[CHECKPOINTS['heads']]
    trained = find_metadata(path) if path else None
    has_second_stage = trained is not None and REFINEMENT in trained.network.get('heads', ())
    return (*names, REFINEMENT) if has_second_stage else names


def _build_fusion(values: dict[str, Any]) -> FuTrFusion:
    if not values['fusion.heights']:
        raise TinyBevError('parameter fusion.heights is []; expected one height at least, m')
    with parameter_context('fusion.num_heads: '), seeded(values['seed']):
        return FuTrFusion(
            values['backbone.out_channels'],
            values['camera.channels'],
            values['fusion.mode'],
            values['fusion.num_heads'],
            tuple(values['fusion.heights']),
        ).eval()


def _check_grid(grid: BevGrid, path: str) -> None:
    """Refuses weights that were trained with pillars of another size, by their metadata."""
    if not path or not (trained := find_metadata(path)):
        return
    if trained.cell != grid.resolution or trained.z_range != grid.z_range:
        (low, high), (own_low, own_high) = trained.z_range, grid.z_range
        raise TinyBevError(
            f'parameter grid.resolution is {grid.resolution:g} and grid.z_range '
            f'[{own_low:g}, {own_high:g}]; '
            f'expected {trained.cell:g} and [{low:g}, {high:g}], with which {path} was trained'
        )


def make_grid(values: dict[str, Any]) -> BevGrid:
    """Builds the grid from `grid.*`."""
    with parameter_context('grid.'):
        return BevGrid(
            tuple(values['grid.x_range']),
            tuple(values['grid.y_range']),
            tuple(values['grid.z_range']),
            values['grid.resolution'],
        )


def make_config(values: dict[str, Any], device: torch.device) -> ExecutionConfig:
    """Builds the execution config from `backbone.precision`, `backbone.sparsity` and the like."""
    return ExecutionConfig(
        device,
        values.get('backbone.precision', 'float32'),
        values.get('backbone.sparsity', 'never'),
        values['num_threads'],
        values.get('camera.resize_width', 0),
        values.get('camera.crop_height', 0),
    )


def describe(models: LoadedModels, config: ExecutionConfig, shape: tuple[int, int] | None) -> str:
    """Returns device, grid if it is known, precision and sparsity of networks in one line."""
    parts = [f'on {config.device}']
    if shape is not None:
        parts.append(f'grid of {shape[0]} x {shape[1]} cells')
    if models.exported_network is not None:
        parts.append(f'exported network {models.exported_network}')
    elif models.backbone is not None:
        dtype = dtype_name(requested_dtype(config.precision, config.device))
        automatic = ' (auto)' if config.precision == 'auto' else ''
        parts += [f'{dtype}{automatic}', f'sparsity {config.sparsity}']
    return ', '.join(parts)


def make_output_roi(values: dict[str, Any], grid: BevGrid | None = None) -> OutputRoi:
    """Returns the published part of the grid, `output_roi.*`, checked where the grid is known."""
    with parameter_context('output_roi.'):
        roi = OutputRoi(_ends(values['output_roi.x_range']), _ends(values['output_roi.y_range']))
    if grid:
        with parameter_context(''):
            roi.check(grid)
    return roi


def _ends(ends: list[float]) -> Any:
    """Returns the ends of a range of the ROI; [0, 0] stands for the whole map.

    `ros2 param load` cannot pass infinity, which would be clearer.
    """
    return (-math.inf, math.inf) if ends == [0.0, 0.0] else tuple(ends)


def _load(part: str, network: torch.nn.Module, values: dict[str, Any], logger: Any) -> str:
    """Loads the weights of a network; returns their digest, as in LoadedModels."""
    name = CHECKPOINTS[part]
    path = values[name]
    if path:
        with parameter_context(f'{name}: '):
            loaded = load_checkpoint(path, {part: network})[part]
        logger.info(f'{name}: {path} ({loaded.names}; sha256 {loaded.digest[:12]})')
        return loaded.digest
    if part == 'fusion':
        network.zero_init_output()  # type: ignore[operator]
        logger.warning(f'{name} is empty: UNTRAINED, so cameras add nothing to BEV features')
        return 'none'
    logger.warning(
        f'{name} is empty: the weights are random (seed {values["seed"]}) and UNTRAINED, '
        'the output means nothing yet'
    )
    return f'random, seed {values["seed"]}'


@contextmanager
def parameter_context(prefix: str) -> Iterator[None]:
    """Context manager: puts the name of a parameter before the messages of errors."""
    try:
        yield
    except TinyBevError as error:
        raise TinyBevError(f'parameter {prefix}{error}') from None
