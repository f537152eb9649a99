# SPDX-License-Identifier: Apache-2.0
"""Networks after a change of parameters at run time: made anew only where it concerns them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.model_builder import ModelBuilder

# Parameter of a file to the network that it is for.
_FILES = {
    'pfn.checkpoint': 'pfn',
    'backbone.checkpoint': 'backbone',
    'heads.checkpoint': 'heads',
    'camera.checkpoint': 'camera',
    'fusion.checkpoint': 'fusion',
}


def reloaded(
    weights: model_factory.LoadedModels,
    values: dict[str, Any],
    before: dict[str, Any],
    names: set[str],
    logger: Any,
) -> model_factory.LoadedModels:
    """The weights with those that were read from the files set; unchanged, the same object.

    Args:
        weights: of now.
        values: of the parameters.
        before: values of now.
        names: of the parameters that are set; a file that is set again is read again, but
            counts as new only if its bytes are.
        logger: gets a line for each file.

    Raises:
        TinyBevError: a file cannot be used.
    """
    files = {
        name: part
        for name, part in _FILES.items()
        if name in names and getattr(weights, part) is not None and (values[name] or before[name])
    }
    if not files:
        return weights
    read = model_factory.load_weights(values, logger, **dict.fromkeys(files.values(), True))
    new = {
        part: getattr(read, part)
        for name, part in files.items()
        if read.digests[name] != weights.digests[name]
    }
    return replace(weights, digests=weights.digests | read.digests, **new) if new else weights


def prepare(
    ladder: MemoryFallback[Any],
    weights: tuple[model_factory.LoadedModels, model_factory.LoadedModels],
    values: dict[str, Any],
    before: dict[str, Any],
    names: set[str],
    builder: Callable[
        [model_factory.LoadedModels, dict[str, Any], ModelRunner | None], ModelBuilder
    ],
) -> list[Callable[[], None]]:
    """Builds the networks that differ, beside those of now.

    Args:
        ladder: runs those of now.
        weights: theirs, and those that are wanted.
        values: of the parameters.
        before: values of now.
        names: of the parameters that are set.
        builder: makes what builds networks; those in its third argument are taken as they are.

    Returns:
        What puts them in the place of those of now, if any differ.

    Raises:
        TinyBevError: they cannot be built.
    """
    old, new = weights
    changes = _new_settings(ladder, values, before, names)
    if new is old and not changes:
        return []
    now = ladder.settings
    kept = _kept(ladder.built, old, new, changes)

    def first(settings: ExecutionConfig) -> ModelRunner:
        # Short memory may have changed the settings meanwhile, and then nothing fits.
        fits = settings == replace(now, **changes)
        return builder(new, values, kept if fits else None)(settings)

    return [ladder.prepare(builder(new, values, None), first, **changes)]


def _new_settings(
    ladder: MemoryFallback[Any], values: dict[str, Any], before: dict[str, Any], names: set[str]
) -> dict[str, Any]:
    """Precision and sparsity that are set, and were not wanted before or are not in force."""
    asked = {
        name: values[f'backbone.{name}']
        for name in ('precision', 'sparsity')
        if f'backbone.{name}' in names
    }
    return {
        name: value
        for name, value in asked.items()
        if (value, value) != (before[f'backbone.{name}'], getattr(ladder.settings, name))
    }


def _kept(
    networks: ModelRunner | None,
    old: model_factory.LoadedModels,
    new: model_factory.LoadedModels,
    changes: dict[str, Any],
) -> ModelRunner:
    """Those of the networks, if there are any, that go on as they are."""
    if networks is None:
        return ModelRunner()
    same_precision = 'precision' not in changes
    return ModelRunner(
        stage=networks.stage if new.pfn is old.pfn else None,
        engine=networks.engine if new.backbone is old.backbone and not changes else None,
        heads=networks.heads if new.heads is old.heads and same_precision else None,
        camera=networks.camera if new.camera is old.camera and same_precision else None,
        fusion=networks.fusion if new.fusion is old.fusion and same_precision else None,
    )
