# SPDX-License-Identifier: Apache-2.0
"""Single-entry cache of tensors that depend on grid and cameras alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

T = TypeVar('T')


class SingleEntryCache(Generic[T]):
    """Keeps the value of the last key.

    In place of `functools.lru_cache(1)`, whose copies share their entry and whose values would be
    inference tensors wherever the first caller is in inference mode.
    """

    def __init__(self) -> None:
        self._entry: tuple[Hashable, T] | None = None

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Returns the kept value if the key equals the last one, else computes and keeps it."""
        if self._entry is None or self._entry[0] != key:
            with torch.inference_mode(False):  # training may use the value as well
                self._entry = key, compute()
        return self._entry[1]
