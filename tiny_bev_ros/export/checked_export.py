# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Export of all parts of a weight file, each compared with PyTorch: the loop of the targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from tiny_bev_ros.export.export_report import ExportReport, ParityRow
from tiny_bev_ros.export.exported_parts import ExportedPart, build_parts, describe
from tiny_bev_ros.export.parity import check_parity, parity_cases
from tiny_bev_ros.inference.loaded_models import LoadedModels


class WrittenPart(NamedTuple):
    """Files of one part.

    Attributes:
        part: the part as it was written, with the format of its weights.
        files: written files; the first one names the part in the report.
        run: computes the outputs of the files for inputs of the part.
    """

    part: ExportedPart
    files: Sequence[Path]
    run: Callable[..., Sequence[Tensor]]


def export_parts(
    weights: Path, models: LoadedModels, write: Callable[[ExportedPart], WrittenPart]
) -> ExportReport:
    """Writes each part of a weight file and compares it with PyTorch.

    Args:
        weights: path of the weight file.
        models: networks of the file.
        write: writes a part.

    Raises:
        TinyBevError: a part cannot be exported, or differs too much.
    """
    files: list[Path] = []
    rows: list[ParityRow] = []
    for part in build_parts(models, describe(weights, models)):
        written = write(part)
        cases = parity_cases(part, models)
        name = written.files[0].name
        rows += check_parity(written.part, name, written.run, cases)
        files += written.files
    return ExportReport(files, rows, _left_out_notes(models))


def _left_out_notes(models: LoadedModels) -> list[str]:
    """Returns a line for a second stage, which is not exported."""
    if models.refinement is None:
        return []
    return ['second stage: left out, as it takes the points near each object']
