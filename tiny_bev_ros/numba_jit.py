# SPDX-License-Identifier: Apache-2.0
"""Functions compiled by numba and kept on disk, where that works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

from tiny_bev_ros.optional_imports import one_line


def compiler(**options: Any) -> Any:
    """A decorator that compiles a function when it is first called; other threads run meanwhile.

    Args:
        options: of numba.njit.
    """
    compile_ = numba.njit(nogil=True, **options)

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = compile_(function)
        # Not by cache=True: that fails, function by function, where there is no folder for it.
        try:
            dispatcher.enable_caching()
        except Exception as error:  # RuntimeError, or that of a file system
            _warn(error)
        else:
            dispatcher._cache = _Cache(dispatcher._cache)
        return dispatcher

    return compiled


class _Cache:
    """A cache of numba whose files may be broken, of another version, or not writable.

    Args:
        cache: numba's own.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function; None to have it compiled."""
        try:
            return self._cache.load_overload(signature, context)
        except Exception as error:
            _warn(error)
            try:
                self._cache.flush()  # so that it is whole again at the next start
            except Exception as failure:
                _warn(failure)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keeps a compiled function."""
        try:
            self._cache.save_overload(signature, compiled)
        except Exception as error:
            _warn(error)


# Types of errors that were told, as each function meets the same one.
_told: set[type] = set()


def _warn(error: Exception) -> None:
    if type(error) in _told:
        return
    _told.add(type(error))
    warnings.warn(
        f"numba's cache cannot be used, so this start takes longer: {one_line(error)}",
        stacklevel=2,
    )
