# SPDX-License-Identifier: Apache-2.0
"""Where the sparse path stops being cheaper than the dense one: measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Share of active cells in the random map that warms an engine up and by which its memory is
# reckoned.
TRIAL_SHARE = 0.03
# Shares in the random maps by which the cost of the sparse path is measured.
_SHARES = (0.002, TRIAL_SHARE)
_ROUNDS = 3
# A larger map is measured by some of its rows: it would take minutes, and gigabytes.
_MEASURED_CELLS = 2**18
# Fixed cost where the measured line would begin below zero.
_LEAST_SECONDS = 1e-9


@dataclass(frozen=True)
class CostModel:
    """What the two paths cost for one size of map.

    Attributes:
        fixed_seconds: of the sparse path, on an empty map.
        seconds_per_mac: of the sparse path, for each multiplication.
        dense_seconds: of the dense path.
    """

    fixed_seconds: float
    seconds_per_mac: float
    dense_seconds: float

    def sparse_is_cheaper(self, macs: int) -> bool:
        """Whether the sparse path with so many multiplications is."""
        return self.fixed_seconds + macs * self.seconds_per_mac <= self.dense_seconds

    def scaled(self, times: float) -> CostModel:
        """Costs of a map with so many times the cells."""
        return CostModel(
            self.fixed_seconds * times, self.seconds_per_mac, self.dense_seconds * times
        )


def measurable(shape: tuple[int, int]) -> tuple[int, int]:
    """(H,W) of the part of a map by which its costs are measured; all of it unless it is large."""
    rows, cols = shape
    return min(rows, max(1, _MEASURED_CELLS // cols)), cols


def is_measurable(shape: tuple[int, int]) -> bool:
    """Tells whether the costs of a map are measured on all of it."""
    return measurable(shape) == shape


def measure(
    sparse: Any,
    dense: Callable[[Tensor], Tensor],
    channels: int,
    shape: tuple[int, int],
    device: torch.device,
) -> CostModel:
    """Times both paths, in turn, on random maps.

    Args:
        sparse: with `find` and `compute`.
        dense: takes (1,C,H,W) float32.
        channels: of the map.
        shape: (H,W) of the map.
        device: where both run.
    """
    few, many = (trial_pillars(share, channels, shape, device) for share in _SHARES)
    canvas = torch.zeros(1, channels, *shape, device=device)
    works: list[Callable[[], Any]] = [
        lambda: run_sparse(sparse, *few),
        lambda: run_sparse(sparse, *many),
        lambda: dense(canvas),
    ]
    few_macs, many_macs = (work() for work in works[:2])
    quick, slow, dense_seconds = median_seconds(works, device)
    if slow > quick and many_macs > few_macs:
        per_mac = (slow - quick) / (many_macs - few_macs)
    else:  # a map too small, or a machine too busy, for a difference: all goes into the slope
        per_mac = slow / max(many_macs, 1)
    return CostModel(max(quick - per_mac * few_macs, _LEAST_SECONDS), per_mac, dense_seconds)


def trial_pillars(
    share: float, channels: int, shape: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features (N,C) and cells (N,2) of a random map."""
    generator = torch.Generator().manual_seed(0)
    cells = (torch.rand(shape, generator=generator) < share).nonzero()
    features = torch.rand(len(cells), channels, generator=generator)
    return features.to(device), cells.to(device)


def run_sparse(sparse: Any, features: Tensor, cells: Tensor) -> int:
    """A whole sparse frame; its multiplications."""
    macs = sparse.find(cells)
    sparse.compute(features)
    return macs


def median_seconds(works: Sequence[Callable[[], Any]], device: torch.device) -> list[float]:
    """Time of each of some works, run in turn; the first run of each does not count."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(_ROUNDS + 1):
        for work, seconds in zip(works, times, strict=True):
            _synchronize(device)
            begin = time.perf_counter()
            work()
            _synchronize(device)
            seconds.append(time.perf_counter() - begin)
    return [sorted(seconds[1:])[_ROUNDS // 2] for seconds in times]


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
