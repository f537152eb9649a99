# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Optional packages, which may be installed and still not be usable."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any, NamedTuple

# Lines that no node has logged yet.
_pending: list[str] = []


class OptionalModule(NamedTuple):
    """A module, or the reason for which it cannot be used.

    Attributes:
        module: the module; None where it cannot be used.
        reason: reason in one line; '' where it can be used.
    """

    module: Any
    reason: str


@functools.cache
def import_optional(name: str, fallback: str = '') -> OptionalModule:
    """Imports a module; tried once, as a failed import may take seconds.

    Binaries that were built for another NumPy, PyTorch or Python raise any exception.

    Args:
        name: name of the module.
        fallback: behaviour without the module, which is noted where its package is installed but
            cannot be used; a missing package is no fault. '' where the caller logs the reason.
    """
    try:
        return OptionalModule(import_module(name), '')
    except ModuleNotFoundError as error:
        missing = error.name or name
        if f'{name}.'.startswith(f'{missing}.'):
            return OptionalModule(None, f'{missing} is not installed')
        reason = f'{name} cannot be used ({missing} is not installed)'
    except (Exception, SystemExit) as error:
        reason = f'{name} cannot be used ({one_line(error)})'
    if fallback:
        note(f'{reason}: {fallback}')
    return OptionalModule(None, reason)


def note(line: str) -> None:
    """Keeps a line for the next node that logs."""
    if line not in _pending:
        _pending.append(line)


def take_notes() -> list[str]:
    """Returns the lines that were noted in this process since the last call."""
    lines = []
    while _pending:  # one by one, as another thread may note a line meanwhile
        lines.append(_pending.pop(0))
    return lines


def one_line(error: BaseException) -> str:
    """Returns the type of an error and the first line of its message."""
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), '')
    return f'{type(error).__name__}: {message}' if message else type(error).__name__
