# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Report of an export: files, errors against PyTorch, notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class ParityRow(NamedTuple):
    """Error of one output of an exported network.

    Attributes:
        name: file and output.
        error: largest error against PyTorch, relative to the largest magnitude.
        tolerance: largest error that is accepted.
    """

    name: str
    error: float
    tolerance: float


@dataclass(frozen=True)
class ExportReport:
    """Result of an export.

    Attributes:
        files: written files.
        rows: errors of the exported networks.
        notes: lines for the user.
    """

    files: list[Path]
    rows: list[ParityRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
