# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
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
