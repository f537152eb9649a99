# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks of a node from configure to cleanup: loaded, run within memory, replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import limit_device_memory
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.nodes import model_factory, model_reload
from tiny_bev_ros.nodes.output_publisher import ApplyCallback


class NodeModels:
    """Loaded weights of a node, and the fallback that runs networks with them.

    Args:
        logger: logger of the node.
        map_shape: returns (H,W) of the maps to process; None if it is unknown in advance.

    Attributes:
        loaded: weights; None while unconfigured.
        fallback: runs the networks; None while unconfigured.
    """

    def __init__(self, logger: Any, map_shape: Callable[[], tuple[int, int] | None]) -> None:
        self.loaded: LoadedModels | None = None
        self.fallback: MemoryFallback[ModelRunner] | None = None
        self._logger, self._map_shape = logger, map_shape

    @property
    def execution(self) -> ExecutionConfig | None:
        """Settings by which the networks run at this moment; None while unconfigured."""
        fallback = self.fallback  # a cleanup may take it meanwhile
        return fallback.config if fallback is not None else None

    @property
    def memory_steps(self) -> tuple[str, ...]:
        """Measures against a shortage of memory that are in force."""
        fallback = self.fallback
        return fallback.steps if fallback is not None else ()

    @property
    def exhausted(self) -> str:
        """'' or the reason why memory does not suffice for any input."""
        fallback = self.fallback
        return fallback.exhausted if fallback is not None else ''

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the weight files, by network."""
        loaded = self.loaded
        return loaded.digests if loaded is not None else {}

    def configure(
        self,
        values: dict[str, Any],
        load: Callable[[dict[str, Any]], LoadedModels],
    ) -> tuple[LoadedModels, ModelRunner]:
        """Loads weights, builds the networks and warms them up.

        Args:
            values: parameters of the node.
            load: loads the weights that the parameters name.

        Returns:
            Weights and networks.

        Raises:
            TinyBevError: the device or the weights cannot be used, or memory is short.
        """
        device = model_factory.make_device(values, self._logger)
        limit_device_memory(device, values['memory_budget_mb'])
        self.loaded = load(values)
        self.fallback = MemoryFallback(
            self._builder(self.loaded),
            model_factory.make_config(values, device),
            self._logger.warning,
            allow_lower_precision=values.get('memory_fallback.allow_bfloat16', False),
            allow_cpu=values['memory_fallback.allow_cpu'],
        )
        return self.loaded, self.fallback.runner

    def describe(self) -> str:
        """Returns device, map and settings in one line."""
        assert self.fallback is not None and self.loaded is not None
        return model_factory.describe(self.loaded, self.fallback.config, self._map_shape())

    def prepare(
        self, values: dict[str, Any], before: dict[str, Any], names: set[str]
    ) -> list[ApplyCallback]:
        """Builds the networks that new parameters change, beside those that run.

        Args:
            values: new parameters.
            before: present parameters.
            names: names of those that are set.

        Returns:
            Callbacks that replace the networks that run; empty if none changes.

        Raises:
            TinyBevError: weights cannot be used, or memory is short.
        """
        assert self.fallback is not None and self.loaded is not None
        loaded = model_reload.reload_models(self.loaded, values, before, names, self._logger)
        callbacks = model_reload.prepare(
            self.fallback, self.loaded, loaded, values, before, names, self._builder
        )

        def replace() -> None:
            self.loaded = loaded

        return [*callbacks, replace] if callbacks else []

    def rebuild(self) -> None:
        """Builds networks again that `release` freed."""
        assert self.fallback is not None
        self.fallback.ensure_built()

    def release(self) -> None:
        """Frees networks and their buffers; `rebuild` or the next input builds them again."""
        if self.fallback is not None:
            self.fallback.release()

    def clear(self) -> None:
        """Drops weights and networks."""
        self.loaded = self.fallback = None

    def _builder(self, loaded: LoadedModels, reuse: ModelRunner | None = None) -> ModelBuilder:
        return ModelBuilder(loaded, self._map_shape, self._logger, reuse)
