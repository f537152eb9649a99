# SPDX-License-Identifier: Apache-2.0
"""Builder of runners of the same networks for any execution config."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_runner import LOGGER, Logger, ModelRunner
from tiny_bev_ros.inference.precision import dtype_for

# (H,W) of KITTI's grid, which is assumed before the first pseudo-image has arrived.
_DEFAULT_SHAPE = (496, 432)


class ModelBuilder:
    """Builds runners of the same networks, as a MemoryFallback asks for them.

    Args:
        models: networks with their weights.
        shape: returns (H,W) of the pseudo-images, or None while it is unknown.
        logger: receives what `ModelRunner.build` logs.
        reuse: runners of networks that are taken as they are.
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
        return ModelRunner.build(
            self._models, config, shape=self._shape(), reuse=self._reuse, logger=self._logger
        )

    def needed_bytes(self, config: ExecutionConfig) -> int | None:
        """Returns the device memory of the backbone; None where it cannot be sparse.

        Without a backbone it is known only that lower precision needs less.
        """
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
        return None if backbone is None else BackboneMemory.of(backbone)
