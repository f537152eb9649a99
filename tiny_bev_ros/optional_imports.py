# SPDX-License-Identifier: Apache-2.0
"""Packages without which the nodes still work: installed does not mean that they can be used."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any, NamedTuple

# Lines that nobody has logged yet.
_untold: list[str] = []


class OptionalModule(NamedTuple):
    """A module that was to be imported, or why it cannot be used.

    Attributes:
        module: the module; None where it cannot be used.
        why_not: one line; '' where it can be used.
    """

    module: Any
    why_not: str


@functools.cache
def import_optional(name: str, instead: str = '') -> OptionalModule:
    """A module, or why it cannot be used; tried once, as a failed import may take seconds.

    Binaries that were made for another NumPy, PyTorch or Python raise anything.

    Args:
        name: of the module.
        instead: what is done without it: noted where its package is installed and cannot be
            used, while one that is missing is no fault. '' where the caller tells.
    """
    try:
        return OptionalModule(import_module(name), '')
    except ModuleNotFoundError as error:
        missing = error.name or name
        if f'{name}.'.startswith(f'{missing}.'):
            return OptionalModule(None, f'{missing} is not installed')
        why_not = f'{name} cannot be used ({missing} is not installed)'
    except (Exception, SystemExit) as error:
        why_not = f'{name} cannot be used ({one_line(error)})'
    if instead:
        note(f'{why_not}: {instead}')
    return OptionalModule(None, why_not)


def note(line: str) -> None:
    """Keeps a line for the next node that logs."""
    if line not in _untold:
        _untold.append(line)


def take_notes() -> list[str]:
    """The lines that were noted since the last call, in this process."""
    lines = []
    while _untold:  # one by one, as another thread may note a line meanwhile
        lines.append(_untold.pop(0))
    return lines


def one_line(error: BaseException) -> str:
    """An error's type and the first line that it says."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), '')
    return f'{type(error).__name__}: {said}' if said else type(error).__name__
