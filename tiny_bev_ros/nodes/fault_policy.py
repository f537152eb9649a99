# SPDX-License-Identifier: Apache-2.0
"""Tells a node that is broken from an input that is wrong."""

from __future__ import annotations

from collections import Counter

import torch

from tiny_bev_ros.inference.device_errors import device_is_lost, is_device_error
from tiny_bev_ros.inference.memory import shortage

# Work that fails so often in a row does not fail because of the inputs.
_TRIES = 10


class FaultPolicy:
    """Judges errors that are none of the package's own, which name something wrong in an input.

    An error of the device breaks a node at once, as the next input would only meet it again. Any
    other does so where one stage has failed ten times in a row.

    Attributes:
        lost: whether the process can use its device no more: only another process can.
    """

    def __init__(self) -> None:
        self.lost = False
        self._in_a_row: Counter[str] = Counter()

    def worked(self, stage: str) -> None:
        """Notes that a stage has done its work."""
        del self._in_a_row[stage]

    def fault(self, error: Exception, stage: str, device: torch.device | None) -> str:
        """'' or a line that says why the node is broken.

        Args:
            error: that was raised.
            stage: whose work on the networks raised it; '' for anything else.
            device: of the networks, if there are any.
        """
        told = str(error).strip().partition('\n')[0]
        line = f'{type(error).__name__}: {told}'
        if is_device_error(error) and not shortage(error):
            self.lost = self.lost or device_is_lost(error, device)
            return f'{line} (the device is lost to this process)' if self.lost else line
        if not stage:
            return ''
        self._in_a_row[stage] += 1
        if self._in_a_row[stage] < _TRIES:
            return ''
        return f'{stage} failed {self._in_a_row[stage]} times in a row: {line}'
