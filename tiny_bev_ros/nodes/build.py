# SPDX-License-Identifier: Apache-2.0
"""Grid, networks and options as the parameters of a node ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tiny_bev_ros.engine.engine import BackboneEngine
from tiny_bev_ros.engine.stages import PillarStage
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.cloud import CloudOptions
from tiny_bev_ros.messages.region import Region
from tiny_bev_ros.models import (
    PillarFeatureNet,
    build_backbone,
    load_backbone,
    load_pfn,
    resolve_device,
    seeded,
)


def make_device(values: dict[str, Any], logger: Any) -> torch.device:
    """The device that is asked for; says which one `auto` found."""
    device = resolve_device(values['device'])
    if values['num_threads']:
        torch.set_num_threads(values['num_threads'])
    if values['device'] == 'auto':
        found = 'there is no CUDA device' if device.type == 'cpu' else 'found by device: auto'
        logger.info(f'computing on {device} ({found})')
    else:
        logger.info(f'computing on {device}')
    return device


def make_cloud_options(values: dict[str, Any]) -> CloudOptions:
    """How clouds are read: `cloud.*`, which must fit `pfn.in_channels`."""
    channels, time_field = values['pfn.in_channels'], values['cloud.time_field']
    if (channels == 11) != bool(time_field):
        expected = 'the name of a field' if channels == 11 else "''"
        raise TinyBevError(
            f'parameter cloud.time_field is {time_field!r}; '
            f'expected {expected} with pfn.in_channels {channels}'
        )
    with _naming('cloud.'):
        return CloudOptions(
            **{
                name.removeprefix('cloud.'): value
                for name, value in values.items()
                if name.startswith('cloud.')
            }
        )


def check_channels(values: dict[str, Any]) -> None:
    """Refuses a backbone that does not take what the pillar feature net gives."""
    given, taken = values['pfn.out_channels'], values['backbone.in_channels']
    if given != taken:
        raise TinyBevError(
            f'parameter backbone.in_channels is {taken}; expected {given}, as pfn.out_channels'
        )


def make_pillar_stage(values: dict[str, Any], device: torch.device, logger: Any) -> PillarStage:
    """Points to pseudo-image: `grid.*` and `pfn.*`."""
    with _naming('grid.'):
        grid = BevGrid(
            tuple(values['grid.x_range']),
            tuple(values['grid.y_range']),
            tuple(values['grid.z_range']),
            values['grid.cell'],
        )
    with seeded(values['seed']):
        pfn = PillarFeatureNet(
            values['pfn.in_channels'],
            values['pfn.out_channels'],
            max_points=values['pfn.max_points'] or None,
            legacy_offsets=values['pfn.legacy_offsets'],
        )
    _load(load_pfn, pfn, 'pfn.checkpoint', values, logger)
    rows, cols = grid.shape
    logger.info(f'grid: {rows} x {cols} cells of {grid.cell:g} m')
    return PillarStage(pfn, grid, device)


def make_backbone_engine(
    values: dict[str, Any], device: torch.device, logger: Any
) -> BackboneEngine:
    """Pseudo-image to features: `backbone.*`."""
    with _naming('backbone.name: '), seeded(values['seed']):
        backbone = build_backbone(
            values['backbone.name'],
            in_channels=values['backbone.in_channels'],
            mid_channels=values['backbone.mid_channels'],
            out_channels=values['backbone.out_channels'],
        ).eval()
    _load(load_backbone, backbone, 'backbone.checkpoint', values, logger)
    with _naming('backbone.'):
        engine = BackboneEngine(
            backbone,
            device,
            precision=values['backbone.precision'],
            sparsity=values['backbone.sparsity'],
            threads=values['num_threads'],
        )
    if engine.why_dense and values['backbone.sparsity'] == 'auto':
        logger.warning(f'the whole map is computed, not only where points are: {engine.why_dense}')
    if engine.why_float32:
        logger.warning(
            f'parameter backbone.precision is {values["backbone.precision"]}, but products are '
            f'float32: {engine.why_float32}'
        )
    return engine


def make_region(values: dict[str, Any], grid: BevGrid | None = None) -> Region:
    """The part of the map that is published, `region.*`; of this grid, where it is known."""
    with _naming('region.'):
        region = Region(tuple(values['region.x_range']), tuple(values['region.y_range']))
    if grid:
        with _naming(''):
            region.check(grid)
    return region


def _load(
    loader: Any, model: torch.nn.Module, name: str, values: dict[str, Any], logger: Any
) -> None:
    path = values[name]
    if path:
        with _naming(f'{name}: '):
            logger.info(f'{name}: {path} ({loader(model, path)})')
    else:
        logger.warning(
            f'{name} is empty: the weights are random (seed {values["seed"]}) and UNTRAINED, '
            'the output means nothing yet'
        )


@contextmanager
def _naming(prefix: str) -> Iterator[None]:
    """Lets an error begin with the parameter that it is about."""
    try:
        yield
    except TinyBevError as error:
        raise TinyBevError(f'parameter {prefix}{error}') from None
