# SPDX-License-Identifier: Apache-2.0
"""What is worked out once, for as long as it is asked for alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

T = TypeVar('T')


class Latest(Generic[T]):
    """Keeps the last thing that was made, for those who ask for the same again."""

    def __init__(self) -> None:
        self._kept: tuple[Hashable, T] | None = None

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for this key last time, else what is made now."""
        if self._kept is None or self._kept[0] != key:
            with torch.inference_mode(False):  # as it may be kept for training
                self._kept = key, make()
        return self._kept[1]
