# SPDX-License-Identifier: Apache-2.0
"""Packages without which the nodes still work: installed does not mean that they can be used."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any, NamedTuple


class OptionalModule(NamedTuple):
    """What came of importing a module.

    Attributes:
        module: the module; None where it cannot be used.
        why_not: one line; '' where it can be used.
    """

    module: Any
    why_not: str


@functools.cache
def import_optional(name: str) -> OptionalModule:
    """A module, or why it cannot be used; tried once, as a failed import may take seconds.

    Binaries that were made for another NumPy, PyTorch or Python raise anything.
    """
    try:
        return OptionalModule(import_module(name), '')
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return OptionalModule(None, f'{error.name} is not installed')
        return OptionalModule(None, f'{name} cannot be used ({one_line(error)})')
    except (Exception, SystemExit) as error:
        return OptionalModule(None, f'{name} cannot be used ({one_line(error)})')


def one_line(error: BaseException) -> str:
    """An error's type and the first line that it says."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), '')
    return f'{type(error).__name__}: {said}' if said else type(error).__name__
