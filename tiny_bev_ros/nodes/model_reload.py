# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Changes of parameters at run time: only networks that a change affects are built again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.nodes import model_factory

# Settings of the execution config that are parameters, `backbone.*`.
_SETTINGS = ('precision', 'sparsity')


def reload_models(
    models: LoadedModels,
    values: dict[str, Any],
    before: dict[str, Any],
    names: set[str],
    logger: Any,
) -> LoadedModels:
    """Returns the networks with the weights that were set; unchanged, the same object.

    Args:
        models: current networks.
        values: parameters as they are set.
        before: current parameters.
        names: names of the parameters that are set; a file that is set again is read again, but
            counts as new only if its bytes are.
        logger: receives a line for each file.

    Raises:
        TinyBevError: a file cannot be used.
    """
    parts = [
        part
        for part, name in model_factory.CHECKPOINTS.items()
        if name in names and getattr(models, part) is not None and (values[name] or before[name])
    ]
    if not parts:
        return models
    read = model_factory.load_models(values, logger, **dict.fromkeys(parts, True))
    new = {
        part: getattr(read, part) for part in parts if read.digests[part] != models.digests[part]
    }
    return replace(models, digests=models.digests | read.digests, **new) if new else models


def prepare(
    fallback: MemoryFallback[ModelRunner],
    old: LoadedModels,
    new: LoadedModels,
    values: dict[str, Any],
    before: dict[str, Any],
    names: set[str],
    builder: Callable[[LoadedModels, ModelRunner | None], ModelBuilder],
) -> list[Callable[[], None]]:
    """Builds the runners that differ, beside the current ones.

    Args:
        fallback: runs the current networks.
        old: current networks.
        new: networks with the new weights.
        values: parameters as they are set.
        before: current parameters.
        names: names of the parameters that are set.
        builder: returns the builder of some networks; runners in its second argument are reused.

    Returns:
        Callback that replaces the current runners; empty if none differ.

    Raises:
        TinyBevError: a runner cannot be built.
    """
    changes = _changed_settings(fallback, values, before, names)
    if new is old and not changes:
        return []
    target = replace(fallback.config, **changes)
    reusable = _reusable(fallback.built, old, new, changes)

    def first(config: ExecutionConfig) -> ModelRunner:
        # A shortage of memory may change the config meanwhile; no current runner fits it then.
        return builder(new, reusable if config == target else None)(config)

    return [fallback.prepare(builder(new, None), first, **changes)]


def _changed_settings(
    fallback: MemoryFallback[ModelRunner],
    values: dict[str, Any],
    before: dict[str, Any],
    names: set[str],
) -> dict[str, Any]:
    """Returns the settings that are set and differ from their old value or the value in force."""
    given = {name: values[f'backbone.{name}'] for name in _SETTINGS if f'backbone.{name}' in names}
    return {
        name: value
        for name, value in given.items()
        if (value, value) != (before[f'backbone.{name}'], getattr(fallback.config, name))
    }


def _reusable(
    runner: ModelRunner | None, old: LoadedModels, new: LoadedModels, changes: dict[str, Any]
) -> ModelRunner:
    """Returns the parts of a runner that a change leaves as they are; none without a runner."""
    if runner is None:
        return ModelRunner()
    same_precision = 'precision' not in changes
    return ModelRunner(
        pfn=runner.pfn if new.pfn is old.pfn else None,
        backbone=runner.backbone if new.backbone is old.backbone and not changes else None,
        heads=runner.heads if new.heads is old.heads and same_precision else None,
        refinement=runner.refinement if new.heads is old.heads else None,
        camera=runner.camera if new.camera is old.camera and same_precision else None,
        fusion=runner.fusion if new.fusion is old.fusion and same_precision else None,
    )
