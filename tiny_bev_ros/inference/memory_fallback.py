# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fallback to an execution config that needs less memory, when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import torch

from tiny_bev_ros.inference.memory import NotEnoughMemoryError, free_caches, translate_oom

_CPU = torch.device('cpu')
_CACHES = 'with caches freed'
_SPARSITIES = {'always': 'sparse only', 'never': 'dense only'}


@dataclass(frozen=True)
class ExecutionConfig:
    """Settings by which networks are run.

    Attributes:
        device: device on which they run.
        precision: compute dtype: float32, bfloat16, float16 or auto, see `dtype_for`.
        sparsity: path of the backbone: auto, always (sparse) or never; see BackboneRunner.
        threads: threads of the numba kernels; 0 for as many as PyTorch has.
        resize_width, crop_height: pixels to which images are fitted, see CameraRunner.
    """

    device: torch.device
    precision: str = 'float32'
    sparsity: str = 'auto'
    threads: int = 0
    resize_width: int = 0
    crop_height: int = 0


class Releasable(Protocol):
    """Runner of networks that a fallback builds."""

    def release(self, successor: Any = None) -> None:
        """Frees buffers that ``successor`` does not share; the next use allocates them anew."""


RunnerT = TypeVar('RunnerT', bound=Releasable)
BuiltT_co = TypeVar('BuiltT_co', bound=Releasable, covariant=True)
ResultT = TypeVar('ResultT')
P = ParamSpec('P')


class Builder(Protocol[BuiltT_co]):
    """Builds a runner for a config, and predicts the memory that it needs."""

    def __call__(self, config: ExecutionConfig) -> BuiltT_co:
        """Builds the runner; may raise NotEnoughMemoryError."""

    def needed_bytes(self, config: ExecutionConfig) -> int | None:
        """Returns the device memory of the runner; None where the config is not possible."""


class MemoryFallback(Generic[RunnerT]):
    """Runs work on a runner, and falls back to a config that needs less when memory is short.

    Each step is logged and followed by another try: first, caches are freed; then other configs on
    the same device are tried, in the order of falling need, so that speed and precision degrade as
    little as possible; then, if allowed, the preferred config on the CPU, and other configs there.
    A config that does not need less than the current one is left out. A step stays in force, but
    caches may be freed again after a hundred inputs.

    If no step helps, the previous config is restored, as the input was too large. If that happens
    several times in a row, or before any input succeeded, the fallback is `exhausted`.

    Args:
        build: builds runners, and predicts the memory that they need.
        config: preferred config.
        log: receives a line of text for each step.
        allow_lower_precision: permits bfloat16 in place of float32.
        allow_cpu: permits the CPU in place of another device.

    Attributes:
        config: current config.
        exhausted: reason for which further inputs would fail too; '' for none.

    Raises:
        NotEnoughMemoryError: there is not enough memory to build a runner.
    """

    # Number of inputs in a row that may be too large; more are no accident.
    _TRIES = 3
    _FREE_AGAIN_AFTER = 100

    def __init__(
        self,
        build: Builder[RunnerT],
        config: ExecutionConfig,
        log: Callable[[str], None],
        *,
        allow_lower_precision: bool,
        allow_cpu: bool,
    ) -> None:
        self._build, self._log = build, log
        self._allow_lower_precision, self._allow_cpu = allow_lower_precision, allow_cpu
        self.config = self._preferred = config
        self.exhausted = ''
        self._caches_freed = False
        self._failures = self._successes = 0
        self._runner: RunnerT | None = None
        self._run_with_fallback(lambda runner: None)

    @property
    def runner(self) -> RunnerT:
        """Runner for the current config; built if there is none at the moment."""
        if self._runner is None:
            self._runner = self._build(self.config)
        return self._runner

    @property
    def built(self) -> RunnerT | None:
        """Runner for the current config; None if there is none at the moment."""
        return self._runner

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps that are in force."""
        freed = (_CACHES,) if self._caches_freed else ()
        return (*freed, *_differences(self._preferred, self.config))

    def ensure_built(self) -> None:
        """Builds the runner where there is none, with fallback steps where memory is short."""
        self.run(lambda runner: None)

    def run(
        self, work: Callable[Concatenate[RunnerT, P], ResultT], *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        """Runs work on the runner, and repeats it after a fallback step where memory is short.

        Args:
            work: function of the runner and of the other arguments, such as a method of its
                class.
            *args: further arguments of the work.
            **kwargs: further arguments of the work.

        Raises:
            NotEnoughMemoryError: no step helped; see `exhausted`.
        """
        before = self.config, self._caches_freed
        try:
            result = self._run_with_fallback(work, *args, **kwargs)
        except NotEnoughMemoryError as error:
            self._failures += 1
            if not self._successes or self._failures >= self._TRIES:
                self.exhausted = str(error)
            else:
                self.config, self._caches_freed = before
                self.release()
            raise
        self._failures = 0
        self._successes += 1
        if self._successes % self._FREE_AGAIN_AFTER == 0:
            self._caches_freed = False
        return result

    def prepare(
        self,
        build: Builder[RunnerT],
        first: Callable[[ExecutionConfig], RunnerT] | None = None,
        **changes: Any,
    ) -> Callable[[], None]:
        """Builds another runner while the current one stays in use.

        Args:
            build: builds runners from now on.
            first: builds the first runner, which may share parts with the current one.
            **changes: changed fields of the config: precision, sparsity.

        Returns:
            Function that replaces the current runner; call it between two inputs.

        Raises:
            NotEnoughMemoryError: there is not enough memory for both.
        """
        before = self.config
        successor = (first or build)(replace(before, **changes))

        def adopt() -> None:
            old = self._runner
            # After a fallback step meanwhile, the successor is built anew with the changed config.
            self._runner = successor if self.config == before else None
            self._build = build
            self.config = replace(self.config, **changes)
            self._preferred = replace(self._preferred, **changes)
            if old is not None:
                old.release(successor)

        return adopt

    def release(self) -> None:
        """Drops the runner; another one is built when it is needed."""
        if self._runner is not None:
            self._runner.release()
        self._runner = None
        free_caches(self.config.device)

    def _run_with_fallback(
        self, work: Callable[Concatenate[RunnerT, P], ResultT], *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        while True:
            try:
                with translate_oom('an input'):
                    return work(self.runner, *args, **kwargs)
            except NotEnoughMemoryError as error:
                config = self._next_config()
                if config is None:
                    raise
                reason = str(error)
            # Outside the handler: an exception keeps alive what its frames hold.
            changed = config != self.config
            names = _differences(self._preferred, config) if changed else (_CACHES,)
            self._log(f'{reason}; now {", ".join(names)}')
            self.release()
            self._caches_freed, self.config = True, config

    def _next_config(self) -> ExecutionConfig | None:
        """Returns the config of the next try; None where there is no other step."""
        if not self._caches_freed:
            return self.config
        now = self._build.needed_bytes(self.config)
        needs = {config: self._build.needed_bytes(config) for config in self._alternatives()}
        less = [config for config, need in needs.items() if need is not None and need < (now or 0)]
        if less:
            return max(less, key=lambda config: needs[config] or 0)
        if self._allow_cpu and self.config.device.type != 'cpu':
            return replace(self._preferred, device=_CPU)
        return None

    def _alternatives(self) -> Iterator[ExecutionConfig]:
        """Yields configs on the same device, the preferred ones first."""
        preferred = self._preferred
        precisions = [preferred.precision]
        if self._allow_lower_precision and preferred.precision in ('float32', 'auto'):
            precisions.append('bfloat16')
        is_auto = preferred.sparsity == 'auto'
        sparsities = ['auto', *_SPARSITIES] if is_auto else [preferred.sparsity]
        for precision in precisions:
            for sparsity in sparsities:
                yield replace(self.config, precision=precision, sparsity=sparsity)


def _differences(preferred: ExecutionConfig, config: ExecutionConfig) -> tuple[str, ...]:
    """Names the settings of a config that differ from the preferred ones."""
    names = []
    if config.sparsity != preferred.sparsity:
        names.append(_SPARSITIES[config.sparsity])
    if config.precision != preferred.precision:
        names.append(f'in {config.precision}')
    if config.device != preferred.device:
        names.append(f'on the {config.device.type.upper()}')
    return tuple(names)
