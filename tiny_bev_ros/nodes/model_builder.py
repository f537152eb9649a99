# SPDX-License-Identifier: Apache-2.0
"""The networks of a node as a memory ladder asks for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.nodes import model_factory

# The map is taken for that of KITTI before the first one has come.
_SHAPE = (496, 432)


class ModelBuilder:
    """Makes networks of the same weights for any settings.

    Args:
        weights: of the networks.
        values: the node's parameters.
        logger: of the node.
        shape: tells (H,W) of the maps that come, if it is known.
        kept: networks that are taken as they are; None for none.
    """

    def __init__(
        self,
        weights: model_factory.LoadedModels,
        values: dict[str, Any],
        logger: Any,
        shape: Callable[[], tuple[int, int] | None],
        kept: ModelRunner | None = None,
    ) -> None:
        self._weights, self._values, self._logger = weights, values, logger
        self._shape, self._kept = shape, kept

    def __call__(self, settings: ExecutionConfig) -> ModelRunner:
        """The networks, warmed up."""
        return model_factory.make_networks(
            self._weights, settings, self._values, self._logger, self._shape(), self._kept
        )

    def needed_bytes(self, settings: ExecutionConfig) -> int | None:
        """The device memory that the backbone takes; None where it cannot be sparse.

        For nodes without one it is known only that lower precision takes less.
        """
        dtype = dtype_for(settings.precision, settings.device)
        if self._backbone is None:
            return dtype.itemsize
        if settings.sparsity == 'always' and not self._backbone.layers:
            return None
        return self._backbone.bytes(
            self._shape() or _SHAPE, dtype, settings.device, settings.sparsity
        )

    @cached_property
    def _backbone(self) -> BackboneMemory | None:
        backbone = self._weights.backbone
        return None if backbone is None else BackboneMemory.of(backbone)
