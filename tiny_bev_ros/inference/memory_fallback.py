# SPDX-License-Identifier: Apache-2.0
"""Work that becomes smaller when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from tiny_bev_ros.inference.memory import NotEnoughMemoryError, free_caches, translate_oom

_CPU = torch.device('cpu')
_CACHES = 'with caches freed'
_SPARSITIES = {'always': 'sparse only', 'never': 'dense only'}


@dataclass(frozen=True)
class ExecutionConfig:
    """Settings by which networks are run.

    Attributes:
        device: where.
        precision, sparsity: as BackboneRunner takes them.
    """

    device: torch.device
    precision: str
    sparsity: str


class Networks(Protocol):
    """Networks that a ladder builds."""

    def release(self, kept: Any = None) -> None:
        """Lets go of buffers that ``kept`` does not share; they are made anew when needed."""


Some = TypeVar('Some', bound=Networks)
Made_co = TypeVar('Made_co', bound=Networks, covariant=True)
Result = TypeVar('Result')


class Builder(Protocol[Made_co]):
    """Makes networks for some settings, and tells before what they take."""

    def __call__(self, settings: ExecutionConfig) -> Made_co:
        """The networks; may raise NotEnoughMemoryError."""

    def needed_bytes(self, settings: ExecutionConfig) -> int | None:
        """Memory of the device that they take; None where the settings are not possible."""


class MemoryFallback(Generic[Some]):
    """Runs work on networks, and makes do with less when memory is short.

    The steps, each of which is told, kept and followed by another try: free caches; other
    settings on the same device, those that need the most first, so that as little as possible is
    given up; the CPU, if that is allowed, with the settings that are wanted; others there. A
    setting that does not need less than the last one is left out. Caches may be freed again after
    a hundred inputs.

    When the last one does not help either, the settings are those of before: it was the input
    that was too large. Where that happens several times in a row, or before anything worked,
    it was not.

    Args:
        build: makes the networks, and knows what they need.
        settings: that are wanted.
        tell: gets a line for each step.
        allow_lower_precision: whether float32 may become bfloat16.
        allow_cpu: whether the CPU may take over.

    Attributes:
        settings: of now.
        exhausted: '' or why there is no use in going on.

    Raises:
        NotEnoughMemoryError: there is too little even to build the networks.
    """

    # So many inputs in a row that are too large are no accident.
    _TRIES = 3
    _FREE_AGAIN_AFTER = 100

    def __init__(
        self,
        build: Builder[Some],
        settings: ExecutionConfig,
        tell: Callable[[str], None],
        *,
        allow_lower_precision: bool,
        allow_cpu: bool,
    ) -> None:
        self._build, self._tell = build, tell
        self._allow_lower_precision, self._allow_cpu = allow_lower_precision, allow_cpu
        self.settings = self._wanted = settings
        self.exhausted = ''
        self._caches_freed = False
        self._failures = self._good = 0
        self._networks: Some | None = None
        self._descending(lambda networks: None)

    @property
    def networks(self) -> Some:
        """The networks for the settings of now."""
        if self._networks is None:
            self._networks = self._build(self.settings)
        return self._networks

    @property
    def steps(self) -> tuple[str, ...]:
        """Those that are in force, by name."""
        freed = (_CACHES,) if self._caches_freed else ()
        return (*freed, *_differences(self._wanted, self.settings))

    def run(self, work: Callable[[Some], Result]) -> Result:
        """Does work on the networks; again, with less, where memory is short.

        Raises:
            NotEnoughMemoryError: no step helped; see `exhausted`.
        """
        before = self.settings, self._caches_freed
        try:
            result = self._descending(work)
        except NotEnoughMemoryError as error:
            self._failures += 1
            if not self._good or self._failures >= self._TRIES:
                self.exhausted = str(error)
            else:
                self.settings, self._caches_freed = before
                self.release()
            raise
        self._failures = 0
        self._good += 1
        if self._good % self._FREE_AGAIN_AFTER == 0:
            self._caches_freed = False
        return result

    @property
    def built(self) -> Some | None:
        """The networks, if there are any at the moment."""
        return self._networks

    def prepare(
        self,
        build: Builder[Some],
        first: Callable[[ExecutionConfig], Some] | None = None,
        **changes: Any,
    ) -> Callable[[], None]:
        """Builds other networks beside those of now, which go on meanwhile.

        Args:
            build: makes them.
            first: makes them this once, where they may share parts with those of now.
            **changes: of the settings: precision, sparsity.

        Returns:
            What puts them in the place of those of now; call it between two inputs.

        Raises:
            NotEnoughMemoryError: there is not enough for both.
        """
        before = self.settings
        networks = (first or build)(replace(before, **changes))

        def adopt() -> None:
            old = self._networks
            # A step that was taken meanwhile holds for them as well: they are built once more.
            self._networks = networks if self.settings == before else None
            self._build = build
            self.settings = replace(self.settings, **changes)
            self._wanted = replace(self._wanted, **changes)
            if old is not None:
                old.release(networks)

        return adopt

    def release(self) -> None:
        """Lets go of the networks; they are built anew when they are needed."""
        if self._networks is not None:
            self._networks.release()
        self._networks = None
        free_caches(self.settings.device)

    def _descending(self, work: Callable[[Some], Result]) -> Result:
        while True:
            try:
                with translate_oom('an input'):
                    return work(self.networks)
            except NotEnoughMemoryError as error:
                settings = self._next()
                if settings is None:
                    raise
                reason = str(error)
            # Outside the handler: an exception keeps alive what its frames hold.
            changed = settings != self.settings
            names = _differences(self._wanted, settings) if changed else (_CACHES,)
            self._tell(f'{reason}; now {", ".join(names)}')
            self.release()
            self._caches_freed, self.settings = True, settings

    def _next(self) -> ExecutionConfig | None:
        """The settings of the next try; None for none."""
        if not self._caches_freed:
            return self.settings
        now = self._build.needed_bytes(self.settings)
        needs = {each: self._build.needed_bytes(each) for each in self._alternatives()}
        less = [each for each, need in needs.items() if need is not None and need < (now or 0)]
        if less:
            return max(less, key=lambda each: needs[each] or 0)
        if self._allow_cpu and self.settings.device.type != 'cpu':
            return replace(self._wanted, device=_CPU)
        return None

    def _alternatives(self) -> Iterator[ExecutionConfig]:
        """Settings on the same device, the most wanted first."""
        wanted, now = self._wanted, self.settings
        precisions = [wanted.precision]
        if self._allow_lower_precision and wanted.precision == 'float32':
            precisions.append('bfloat16')
        sparsities = ['auto', *_SPARSITIES] if wanted.sparsity == 'auto' else [wanted.sparsity]
        for precision in precisions:
            for sparsity in sparsities:
                yield ExecutionConfig(now.device, precision, sparsity)


def _differences(wanted: ExecutionConfig, now: ExecutionConfig) -> tuple[str, ...]:
    """Names of what is not as it is wanted."""
    found = []
    if now.sparsity != wanted.sparsity:
        found.append(_SPARSITIES[now.sparsity])
    if now.precision != wanted.precision:
        found.append(f'in {now.precision}')
    if now.device != wanted.device:
        found.append(f'on the {now.device.type.upper()}')
    return tuple(found)
