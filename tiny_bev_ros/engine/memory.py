# SPDX-License-Identifier: Apache-2.0
"""What happens when memory is short: first it is told apart, then the work becomes smaller."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from tiny_bev_ros.errors import TinyBevError

# What PyTorch says where it has no exception type of its own: of its CPU allocator and of
# CUDA's libraries. 'memory' alone is also in 'illegal memory access'.
_SHORT = (
    'out of memory',
    "can't allocate memory",
    'not enough memory',
    'CUBLAS_STATUS_ALLOC_FAILED',
    'CUDNN_STATUS_ALLOC_FAILED',
)
_CPU = torch.device('cpu')


class NotEnoughMemoryError(TinyBevError):
    """Some input needs more memory than there is."""


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Makes one line of PyTorch's out of memory: one large input must not end a node.

    Raises:
        NotEnoughMemoryError: memory was short for ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(words in text for words in _SHORT):
            raise
        reason = text.strip().partition('\n')[0]
        raise NotEnoughMemoryError(f'there is not enough memory for {what}: {reason}') from None


def limit_device_memory(device: torch.device, budget_mb: int) -> None:
    """Lets PyTorch take at most so much of a CUDA device; beyond it memory counts as short.

    Args:
        device: where to compute.
        budget_mb: MiB; 0 for all there is. CUDA itself takes some hundred more.

    Raises:
        TinyBevError: the device has less.
    """
    if device.type != 'cuda':
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if budget_mb * 2**20 > total:
        raise TinyBevError(
            f'memory_budget_mb is {budget_mb}; '
            f'expected at most {total // 2**20}, which {device} has'
        )
    share = budget_mb * 2**20 / total if budget_mb else 1.0
    torch.cuda.set_per_process_memory_fraction(share, device)


def device_memory_mb(device: torch.device) -> float:
    """MiB that PyTorch holds on a CUDA device; 0 on the CPU."""
    return torch.cuda.memory_reserved(device) / 2**20 if device.type == 'cuda' else 0.0


def free_caches(device: torch.device) -> None:
    """Gives back what nobody uses any more."""
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Settings:
    """How networks are run.

    Attributes:
        device: where.
        precision, sparsity: as BackboneEngine takes them.
    """

    device: torch.device
    precision: str
    sparsity: str


class Networks(Protocol):
    """What a ladder builds."""

    @property
    def can_be_sparse(self) -> bool:
        """Whether sparsity 'always' is possible."""

    def release(self, kept: Any = None) -> None:
        """Lets go of buffers that ``kept`` does not share; they are made anew when needed."""


Some = TypeVar('Some', bound=Networks)
Result = TypeVar('Result')
_CACHES, _SPARSE, _LOWER, _ON_CPU = (
    'with caches freed',
    'sparse only',
    'in bfloat16',
    'on the CPU',
)


class MemoryLadder(Generic[Some]):
    """Runs work on networks, and makes do with less when memory is short.

    The steps, each of which is told, kept and followed by another try: free caches; compute
    sparse only; lower precision, if that is allowed; the CPU, if that is allowed. A step that
    changes nothing is left out. Caches may be freed again after a hundred inputs.

    When the last one does not help either, the settings are those of before: it was the input
    that was too large. Where that happens several times in a row, or before anything worked,
    it was not.

    Args:
        build: makes the networks for some settings; may itself raise NotEnoughMemoryError.
        settings: to begin with.
        tell: gets a line for each step.
        allow_lower_precision: whether float32 may become bfloat16.
        allow_cpu: whether the CPU may take over.

    Attributes:
        settings: of now.
        steps: that are in force, by name.
        exhausted: '' or why there is no use in going on.

    Raises:
        NotEnoughMemoryError: there is too little even to build the networks.
    """

    # So many inputs in a row that are too large are no accident.
    _TRIES = 3
    _FREE_AGAIN_AFTER = 100

    def __init__(
        self,
        build: Callable[[Settings], Some],
        settings: Settings,
        tell: Callable[[str], None],
        *,
        allow_lower_precision: bool,
        allow_cpu: bool,
    ) -> None:
        self._build, self._tell = build, tell
        self._allow_lower_precision, self._allow_cpu = allow_lower_precision, allow_cpu
        self.settings = settings
        self.steps: tuple[str, ...] = ()
        self.exhausted = ''
        self._failures = self._good = 0
        self._can_be_sparse = True
        self._networks: Some | None = None
        self._descending(lambda networks: None)

    @property
    def networks(self) -> Some:
        """The networks for the settings of now."""
        if self._networks is None:
            self._networks = self._build(self.settings)
            self._can_be_sparse = self._networks.can_be_sparse
        return self._networks

    def run(self, work: Callable[[Some], Result]) -> Result:
        """Does work on the networks; again, with less, where memory is short.

        Raises:
            NotEnoughMemoryError: no step helped; see `exhausted`.
        """
        before = self.settings, self.steps
        try:
            result = self._descending(work)
        except NotEnoughMemoryError as error:
            self._failures += 1
            if not self._good or self._failures >= self._TRIES:
                self.exhausted = str(error)
            else:
                self.settings, self.steps = before
                self.release()
            raise
        self._failures = 0
        self._good += 1
        if self._good % self._FREE_AGAIN_AFTER == 0:
            self._undo({_CACHES})
        return result

    @property
    def built(self) -> Some | None:
        """The networks, if there are any at the moment."""
        return self._networks

    def prepare(
        self,
        build: Callable[[Settings], Some],
        first: Callable[[Settings], Some] | None = None,
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
            self._can_be_sparse = networks.can_be_sparse
            self._build, self.settings = build, replace(self.settings, **changes)
            undone = {'precision': _LOWER, 'sparsity': _SPARSE}
            self._undo({undone[name] for name in changes})
            if old is not None:
                old.release(networks)

        return adopt

    def release(self) -> None:
        """Lets go of the networks; they are built anew when they are needed."""
        if self._networks is not None:
            self._networks.release()
        self._networks = None
        free_caches(self.settings.device)

    def _undo(self, steps: set[str]) -> None:
        self.steps = tuple(step for step in self.steps if step not in steps)

    def _descending(self, work: Callable[[Some], Result]) -> Result:
        while True:
            try:
                with enough_memory('an input'):
                    return work(self.networks)
            except NotEnoughMemoryError as error:
                step = self._next_step()
                if step is None:
                    raise
                reason = str(error)
            except TinyBevError:
                if self._networks is not None or self.steps[-1:] != (_SPARSE,):
                    raise
                # Only built networks tell whether they can be sparse; these cannot.
                self._can_be_sparse, self.steps = False, self.steps[:-1]
                self.settings = replace(self.settings, sparsity='auto')
                continue
            # Outside the handler: an exception keeps alive what its frames hold.
            name, changes = step
            self._tell(f'{reason}; now {name}')
            self.release()
            self.steps = (*self.steps, name)
            self.settings = replace(self.settings, **changes)

    def _next_step(self) -> tuple[str, dict[str, Any]] | None:
        now = self.settings
        steps: list[tuple[str, bool, dict[str, Any]]] = [
            (_CACHES, True, {}),
            (_SPARSE, self._can_be_sparse and now.sparsity == 'auto', {'sparsity': 'always'}),
            (
                _LOWER,
                self._allow_lower_precision and now.precision == 'float32',
                {'precision': 'bfloat16'},
            ),
            (_ON_CPU, self._allow_cpu and now.device.type != 'cpu', {'device': _CPU}),
        ]
        for name, possible, changes in steps:
            if possible and name not in self.steps:
                return name, changes
        return None
