# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files from which a stopped training is resumed, and its log."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.file_replacement import replacing
from tiny_bev_ros.models.checkpoint.weight_files import refuse_other_files
from tiny_bev_ros.optional_imports import one_line


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes the state of a training; a run that is stopped meanwhile leaves the last one."""
    with replacing(path) as new:
        torch.save(state, new)


def read_state(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Reads the state of a training.

    Args:
        path: file of `save_state`.
        names: keys that the state must have.

    Raises:
        TinyBevError: the file is damaged, or has other content.
    """
    refuse_other_files(path)
    try:
        state: Any = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch.load documents no errors for damaged files
        raise TinyBevError(
            f'{path} cannot be read ({one_line(error)}); expected the state of a training, '
            'or a new folder'
        ) from None
    missing = [name for name in names if not isinstance(state, dict) or name not in state]
    if missing:
        raise TinyBevError(
            f'{path} has no {", ".join(missing)}; expected the state of a training, or a new '
            'folder'
        )
    loaded: dict[str, Any] = state
    return loaded


def append_log(path: Path, values: Mapping[str, object]) -> None:
    """Adds a row to a CSV file, under a first row of the names if the file is new."""
    new = not path.exists()
    with path.open('a', newline='') as file:
        writer = csv.DictWriter(file, list(values))
        if new:
            writer.writeheader()
        writer.writerow(values)
