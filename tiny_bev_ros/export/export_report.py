# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Result of an export: files, parity and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class ParityRow(NamedTuple):
    """Largest error of an exported network, or of one output, against PyTorch.

    Attributes:
        name: compared file or output, with its size where that matters.
        error: largest absolute error over the largest magnitude of the output; with int8 weights
            the norm of the errors over the norm of the output.
        tolerance: largest error that is accepted.
    """

    name: str
    error: float
    tolerance: float


@dataclass(frozen=True)
class ExportReport:
    """Result of one target.

    Attributes:
        files: written files, below the folder that the target was given.
        rows: measured parity.
        notes: lines for the user, such as parts that are left out and the reason.
    """

    files: Sequence[Path]
    rows: Sequence[ParityRow]
    notes: Sequence[str] = field(default=())

    def lines(self) -> list[str]:
        """Returns the table of parity, then the notes."""
        width = max((len(row.name) for row in self.rows), default=0)
        table = [f'{"compared with PyTorch":<{width}}  relative error  tolerance'] + [
            f'{row.name:<{width}}  {row.error:>14.1e}  {row.tolerance:>9g}' for row in self.rows
        ]
        return [*(table if self.rows else []), *self.notes]
