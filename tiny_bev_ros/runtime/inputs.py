# SPDX-License-Identifier: Apache-2.0
"""Several inputs of a node as one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any


class Inputs:
    """Ends one after the other, all of them even where one does not end well.

    Args:
        inputs: objects with `sources` and `destroy`, ended in this order.
    """

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._inputs = inputs

    @property
    def sources(self) -> list[str]:
        """Topics and types that they wait for."""
        return [source for each in self._inputs for source in each.sources]

    def destroy(self) -> None:
        """Ends them; raises what the last one raised that did."""
        with ExitStack() as stack:
            for each in reversed(self._inputs):
                stack.callback(each.destroy)
