# SPDX-License-Identifier: Apache-2.0
"""Grid, networks and options as the parameters of a node ask for them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.memory import translate_oom
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.point_cloud import CloudOptions
from tiny_bev_ros.models import (
    CameraEncoder,
    PillarFeatureNet,
    build_backbone,
    cuda_unavailable_reason,
    load_backbone,
    load_heads,
    load_pfn,
    resolve_device,
    seeded,
)
from tiny_bev_ros.models.bev_detector import build_heads
from tiny_bev_ros.models.checkpoint.loading import load_camera_encoder, load_fusion
from tiny_bev_ros.models.checkpoint.metadata import find_metadata
from tiny_bev_ros.models.fusion.futr import FuTrFusion

# Bytes of a map on which the first run takes seconds.
_LONG_START = 2**30


def make_device(values: dict[str, Any], logger: Any) -> torch.device:
    """The device that is asked for; says which one it is, and why `auto` took the CPU."""
    device = resolve_device(values['device'])
    if values['num_threads']:
        torch.set_num_threads(values['num_threads'])
    reason = (
        cuda_unavailable_reason() if values['device'] == 'auto' and device.type == 'cpu' else ''
    )
    logger.info(f'computing on {device}' + (f', as {reason}' if reason else ''))
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


@dataclass(frozen=True)
class LoadedModels:
    """Networks with their weights, on the CPU, and what is told of them.

    Attributes:
        pfn, backbone, heads, camera, fusion: those that the node has.
        grid: of the pillars, where the node makes them.
        digests: parameter of a file to its SHA-256, or 'random, seed N'; a fusion without a file
            adds nothing: 'none'.
    """

    pfn: PillarFeatureNet | None
    backbone: torch.nn.Module | None
    heads: torch.nn.ModuleDict | None
    camera: CameraEncoder | None
    fusion: FuTrFusion | None
    grid: BevGrid | None
    digests: dict[str, str]


def load_weights(
    values: dict[str, Any],
    logger: Any,
    *,
    pfn: bool = False,
    backbone: bool = False,
    heads: bool = False,
    camera: bool = False,
    fusion: bool = False,
) -> LoadedModels:
    """The networks that are asked for, as the parameters say, from their files."""
    digests: dict[str, str] = {}
    grid = made_pfn = made_backbone = made_heads = made_camera = made_fusion = None
    if pfn:
        grid = make_grid(values)
        with seeded(values['seed']):
            made_pfn = PillarFeatureNet(
                values['pfn.in_channels'],
                values['pfn.out_channels'],
                max_points=values['pfn.max_points'] or None,
                legacy_offsets=values['pfn.legacy_offsets'],
            )
        digests |= _load(load_pfn, made_pfn, 'pfn.checkpoint', values, logger)
        _check_grid(grid, values['pfn.checkpoint'])
    if backbone:
        with _naming('backbone.name: '), seeded(values['seed']):
            made_backbone = build_backbone(
                values['backbone.name'],
                in_channels=values['backbone.in_channels'],
                mid_channels=values['backbone.mid_channels'],
                out_channels=values['backbone.out_channels'],
            ).eval()
        digests |= _load(load_backbone, made_backbone, 'backbone.checkpoint', values, logger)
    if heads:
        with seeded(values['seed']):
            made_heads = build_heads(
                tuple(values['heads']), values['backbone.out_channels']
            ).eval()
        digests |= _load(load_heads, made_heads, 'heads_checkpoint', values, logger)
    if camera:
        with _naming('camera.'), seeded(values['seed']):
            made_camera = CameraEncoder(
                values['camera.encoder'], values['camera.channels'], values['camera.stride']
            ).eval()
        digests |= _load(load_camera_encoder, made_camera, 'camera.checkpoint', values, logger)
    if fusion:
        if not values['fusion.heights']:
            raise TinyBevError('parameter fusion.heights is []; expected one height at least, m')
        with _naming('fusion.heads: '), seeded(values['seed']):
            made_fusion = FuTrFusion(
                values['backbone.out_channels'],
                values['camera.channels'],
                values['fusion.mode'],
                values['fusion.heads'],
                tuple(values['fusion.heights']),
            ).eval()
        if values['fusion.checkpoint']:
            digests |= _load(load_fusion, made_fusion, 'fusion.checkpoint', values, logger)
        else:
            made_fusion.silence()
            digests['fusion.checkpoint'] = 'none'
            logger.warning('fusion.checkpoint is empty: UNTRAINED, so cameras add nothing to maps')
    return LoadedModels(
        made_pfn, made_backbone, made_heads, made_camera, made_fusion, grid, digests
    )


def _check_grid(grid: BevGrid, path: str) -> None:
    """Refuses weights that say that they were trained with pillars of another size."""
    if not path or not (said := find_metadata(path)):
        return
    if said.cell != grid.cell or said.z_range != grid.z_range:
        (low, high), (own_low, own_high) = said.z_range, grid.z_range
        raise TinyBevError(
            f'parameter grid.cell is {grid.cell:g} and grid.z_range [{own_low:g}, {own_high:g}]; '
            f'expected {said.cell:g} and [{low:g}, {high:g}], with which {path} was trained'
        )


def make_grid(values: dict[str, Any]) -> BevGrid:
    """Where the map lies: `grid.*`."""
    with _naming('grid.'):
        return BevGrid(
            tuple(values['grid.x_range']),
            tuple(values['grid.y_range']),
            tuple(values['grid.z_range']),
            values['grid.cell'],
        )


def make_networks(
    weights: LoadedModels,
    settings: ExecutionConfig,
    values: dict[str, Any],
    logger: Any,
    shape: tuple[int, int] | None,
    kept: ModelRunner | None = None,
) -> ModelRunner:
    """The networks ready to run on a device; warmed up for a map of (H,W), if it is known.

    The weights stay as they are: those that run are copies, so that networks with others can
    be made beside them. Those in ``kept`` are taken as they are.
    """
    kept = kept or ModelRunner()
    stage, engine, heads = kept.stage, kept.engine, kept.heads
    camera, fusion = kept.camera, kept.fusion
    with translate_oom('the networks'):
        if stage is None and weights.pfn is not None and weights.grid is not None:
            stage = PillarRunner(copy.deepcopy(weights.pfn), weights.grid.near, settings.device)
            stage.warm_up()
        if engine is None and weights.backbone is not None:
            backbone = copy.deepcopy(weights.backbone)
            engine = _make_engine(backbone, settings, values, logger)
            if shape is not None:
                _tell_if_long(engine.needed_bytes(shape), shape, logger)
                engine.warm_up(shape)
        if heads is None and weights.heads is not None:
            heads = HeadRunner(dict(weights.heads.items()), settings.device, settings.precision)
        if camera is None and weights.camera is not None:
            camera = _make_camera_stage(weights.camera, settings, values)
        if fusion is None and weights.fusion is not None:
            fusion = FusionRunner(weights.fusion, settings.device, settings.precision)
    return ModelRunner(stage, engine, heads, camera, fusion)


def describe(
    weights: LoadedModels, settings: ExecutionConfig, shape: tuple[int, int] | None
) -> str:
    """A line: device, map if it is known, precision and sparsity of these networks."""
    parts = [f'on {settings.device}']
    if shape is not None:
        parts.append(f'map of {shape[0]} x {shape[1]} cells')
    if weights.backbone is not None:
        parts += [settings.precision, f'sparsity {settings.sparsity}']
    return ', '.join(parts)


def _tell_if_long(needed: int, shape: tuple[int, int], logger: Any) -> None:
    if needed > _LONG_START:
        logger.info(
            f'making ready for a map of {shape[0]} x {shape[1]} cells, which takes some '
            f'{needed / 2**20:.0f} MiB, and a while'
        )


def _make_camera_stage(
    encoder: CameraEncoder, settings: ExecutionConfig, values: dict[str, Any]
) -> CameraRunner:
    size = tuple(values['camera.image_size'])
    with _naming('camera.'):
        if len(size) != 2:
            raise TinyBevError(f'image_size is {list(size)}; expected [width, height]')
        stage = CameraRunner(encoder, settings.device, settings.precision, size)
    if all(size):
        stage.warm_up(size)
    return stage


def _make_engine(
    backbone: torch.nn.Module, settings: ExecutionConfig, values: dict[str, Any], logger: Any
) -> BackboneRunner:
    with _naming('backbone.'):
        engine = BackboneRunner(
            backbone,
            settings.device,
            precision=settings.precision,
            sparsity=settings.sparsity,
            threads=values['num_threads'],
        )
    if engine.why_dense and settings.sparsity == 'auto':
        logger.warning(f'the whole map is computed, not only where points are: {engine.why_dense}')
    if engine.why_float32:
        logger.warning(
            f'parameter backbone.precision is {settings.precision}, but products are '
            f'float32: {engine.why_float32}'
        )
    return engine


def make_region(values: dict[str, Any], grid: BevGrid | None = None) -> OutputRoi:
    """The part of the map that is published, `region.*`; of this grid, where it is known."""
    with _naming('region.'):
        region = OutputRoi(_ends(values['region.x_range']), _ends(values['region.y_range']))
    if grid:
        with _naming(''):
            region.check(grid)
    return region


def _ends(ends: list[float]) -> Any:
    """Ends of a region; both 0 are those of the map.

    Infinity, which would say so by itself, does not get through `ros2 param load`.
    """
    return (-math.inf, math.inf) if ends == [0.0, 0.0] else tuple(ends)


def _load(
    loader: Any, model: torch.nn.Module, name: str, values: dict[str, Any], logger: Any
) -> dict[str, str]:
    path = values[name]
    if not path:
        logger.warning(
            f'{name} is empty: the weights are random (seed {values["seed"]}) and UNTRAINED, '
            'the output means nothing yet'
        )
        return {name: f'random, seed {values["seed"]}'}
    with _naming(f'{name}: '):
        loaded = loader(model, path)
    logger.info(f'{name}: {path} ({loaded.names}; sha256 {loaded.digest[:12]})')
    return {name: loaded.digest}


@contextmanager
def _naming(prefix: str) -> Iterator[None]:
    """Lets an error begin with the parameter that it is about."""
    try:
        yield
    except TinyBevError as error:
        raise TinyBevError(f'parameter {prefix}{error}') from None
