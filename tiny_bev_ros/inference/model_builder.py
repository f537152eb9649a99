# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Builds a ModelRunner from loaded networks, for one execution config or for several."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.exported_builder import build_exported, int8_warning
from tiny_bev_ros.inference.exported_runners import ExportedBackbone, ExportedHeads
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import NotEnoughMemoryError, translate_oom
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.inference.refinement_runner import RefinementRunner
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.heads.head_registry import map_heads

# (H,W) of KITTI's grid, which is assumed until the first pseudo-image arrives.
_DEFAULT_SHAPE = (496, 432)
# Memory of a backbone, in bytes, above which its first run takes seconds.
_LONG_START = 2**30


class Logger(Protocol):
    """Logger of ROS or of Python."""

    def info(self, message: str, /) -> object:
        """Logs a line of information."""

    def warning(self, message: str, /) -> object:
        """Logs a warning."""


LOGGER: Logger = logging.getLogger('tiny_bev_ros')


def build_runner(
    models: LoadedModels,
    config: ExecutionConfig,
    *,
    shape: tuple[int, int] | None = None,
    reuse: ModelRunner | None = None,
    logger: Logger = LOGGER,
) -> ModelRunner:
    """Prepares copies of networks for a device and warms them up.

    The networks themselves stay as they are, so that other runners can be built from them.

    Args:
        models: networks with their weights.
        config: device, precision and sparsity.
        shape: (H,W) of the pseudo-image for which the backbone is warmed up; None where it
            is unknown; the first frame then takes longer.
        reuse: existing runners of networks, which are not built again.
        logger: receives a line for each setting that has no effect, one for an exported network,
            and one before a warm-up that takes long.

    Raises:
        TinyBevError: a setting is not allowed; the message begins with its name.
        NotEnoughMemoryError: memory is short.
    """
    reuse = reuse or ModelRunner()
    pfn, backbone, heads = reuse.pfn, reuse.backbone, reuse.heads
    camera, fusion, refinement = reuse.camera, reuse.fusion, reuse.refinement
    with translate_oom('the networks'):
        if pfn is None and models.pfn is not None and models.grid is not None:
            pfn = PillarRunner(copy.deepcopy(models.pfn), models.grid.local, config.device)
            pfn.warm_up()
        if models.exported_network is not None and (
            backbone is None or (heads is None and _has_heads(backbone))
        ):
            backbone, exported_heads = _open_exported(models, config, logger)
            heads = exported_heads or heads
        if backbone is None and models.backbone is not None:
            backbone = _build_backbone(models.backbone, config, logger)
        if backbone is not None and backbone is not reuse.backbone and shape is not None:
            _announce_long_start(backbone.needed_bytes(shape), shape, logger)
            backbone.warm_up(shape)
        if heads is None and models.heads is not None:
            networks = map_heads(models.heads)
            heads = HeadRunner(networks, config.device, config.precision, config.threads)
            heads.warm_up(
                models.grid.strided(backbone.stride).shape if models.grid and backbone else None
            )
        if refinement is None and models.refinement is not None:
            refinement = RefinementRunner(models.refinement)
            refinement.warm_up()
        if camera is None and models.camera is not None:
            camera = _build_camera(models.camera, config)
        if fusion is None and models.fusion is not None:
            fusion = FusionRunner(models.fusion, config.device, config.precision)
    return ModelRunner(pfn, backbone, heads, camera, fusion, models.grid, refinement)


def _has_heads(backbone: BackboneRunner | ExportedBackbone) -> bool:
    """Returns True for an exported network that computes the heads as well."""
    return isinstance(backbone, ExportedBackbone) and backbone.has_heads


class ModelBuilder:
    """Builds runners of the same networks for a MemoryFallback.

    Args:
        models: networks with their weights.
        shape: returns (H,W) of the pseudo-images, or None while it is unknown.
        logger: receives the log lines of `build_runner`.
        reuse: existing runners of networks, which are not built again.
    """

    def __init__(
        self,
        models: LoadedModels,
        shape: Callable[[], tuple[int, int] | None],
        logger: Logger = LOGGER,
        reuse: ModelRunner | None = None,
    ) -> None:
        self._models, self._shape = models, shape
        self._logger, self._reuse = logger, reuse

    def __call__(self, config: ExecutionConfig) -> ModelRunner:
        """Builds a runner and warms it up."""
        return build_runner(
            self._models, config, shape=self._shape(), reuse=self._reuse, logger=self._logger
        )

    def needed_bytes(self, config: ExecutionConfig) -> int | None:
        """Returns the device memory of the backbone; None where it cannot be sparse.

        An exported network needs as much with every config.

        Without a backbone it returns the bytes of one value, by which precisions are compared.
        """
        if self._models.exported_network is not None:
            config = replace(config, precision='float32', sparsity='never')
        dtype = dtype_for(config.precision, config.device)
        if self._backbone is None:
            return dtype.itemsize
        if config.sparsity == 'always' and not self._backbone.layers:
            return None
        shape = self._shape() or _DEFAULT_SHAPE
        return self._backbone.bytes(shape, dtype, config.device, config.sparsity)

    @cached_property
    def _backbone(self) -> BackboneMemory | None:
        backbone = self._models.backbone
        return None if backbone is None else BackboneMemory.from_backbone(backbone)


def _open_exported(
    models: LoadedModels, config: ExecutionConfig, logger: Logger
) -> tuple[ExportedBackbone, ExportedHeads | None]:
    """Opens the exported network; logs it, and the settings that have no effect on it."""
    with _prefix('backbone.'):
        backbone, heads, description = build_exported(models, config)
    if heads is not None:
        heads.warm_up()
    logger.info(f'backbone.exported_network: {description}')
    if config.sparsity != 'never':
        logger.info('backbone.sparsity has no effect: an exported network computes every cell')
    if warning := int8_warning(backbone):
        logger.warning(f'backbone.exported_network is int8, but {warning}')
    return backbone, heads


def _build_backbone(network: nn.Module, config: ExecutionConfig, logger: Logger) -> BackboneRunner:
    with _prefix('backbone.'):
        runner = BackboneRunner(
            copy.deepcopy(network),
            config.device,
            precision=config.precision,
            sparsity=config.sparsity,
            threads=config.threads,
        )
    if runner.dense_reason and config.sparsity == 'auto':
        logger.warning(
            f'backbone.sparsity has no effect, every cell is computed: {runner.dense_reason}'
        )
    if runner.float32_reason:
        logger.warning(
            f'backbone.precision is {config.precision}, but the compute dtype is float32: '
            f'{runner.float32_reason}'
        )
    return runner


def _build_camera(encoder: CameraEncoder, config: ExecutionConfig) -> CameraRunner:
    with _prefix('camera.'):
        runner = CameraRunner(
            encoder,
            config.device,
            config.precision,
            resize_width=config.resize_width,
            crop_height=config.crop_height,
        )
    if config.resize_width and config.crop_height:
        runner.warm_up((config.resize_width, config.crop_height))
    return runner


def _announce_long_start(needed: int, shape: tuple[int, int], logger: Logger) -> None:
    if needed > _LONG_START:
        logger.info(
            f'warming up for a grid of {shape[0]} x {shape[1]} cells, which takes about '
            f'{needed / 2**20:.0f} MiB and some time'
        )


@contextmanager
def _prefix(name: str) -> Iterator[None]:
    """Context manager: puts the name of the network before the message of an error."""
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except TinyBevError as error:
        raise TinyBevError(f'{name}{error}') from None
