# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Compilation by numba, cached on disk where that works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

from tiny_bev_ros.optional_imports import one_line


def compiler(**options: Any) -> Any:
    """Returns a decorator that compiles a function when it is first called.

    Compiled functions do not hold the global interpreter lock.

    Args:
        **options: options of numba.njit.
    """
    compile_ = numba.njit(nogil=True, **options)

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = compile_(function)
        # Not with cache=True, which raises an error where no cache folder is writable.
        try:
            dispatcher.enable_caching()
        except Exception as error:  # RuntimeError, or an error of the file system
            _warn(error)
        else:
            dispatcher._cache = _Cache(dispatcher._cache)
        return dispatcher

    return compiled


class _Cache:
    """Cache of numba that survives files that are broken, of another version, or not writable.

    Args:
        cache: cache that numba made.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Returns the compiled function; None where it must be compiled."""
        try:
            return self._cache.load_overload(signature, context)
        except Exception as error:
            _warn(error)
            try:
                self._cache.flush()  # so that the next start can use it
            except Exception as failure:
                _warn(failure)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Stores a compiled function."""
        try:
            self._cache.save_overload(signature, compiled)
        except Exception as error:
            _warn(error)


# Types of errors that were logged, as all functions raise the same one.
_warned: set[type] = set()


def _warn(error: Exception) -> None:
    if type(error) in _warned:
        return
    _warned.add(type(error))
    warnings.warn(
        f"numba's cache cannot be used, so this start takes longer: {one_line(error)}",
        stacklevel=2,
    )
