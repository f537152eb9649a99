# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Target `torch`: networks as programs of torch.export."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.checked_export import WrittenPart, export_parts
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.export.exported_parts import ExportedPart
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.optional_imports import one_line
from tiny_bev_ros.resources import find_weights

METADATA = 'metadata.json'


def export(options: argparse.Namespace, folder: Path) -> ExportReport:
    """Exports the networks of a weight file and compares the files, loaded again.

    Args:
        options: options of the program; ``weights`` is read.
        folder: folder of the files.

    Raises:
        TinyBevError: a part cannot be exported, or differs too much.
    """
    weights = find_weights(options.weights)

    def write(part: ExportedPart) -> WrittenPart:
        path = write_torch_program(part, folder / f'{part.name}.pt2')
        return WrittenPart(part, [path], load_torch_program(path))

    return export_parts(weights, LoadedModels.from_file(weights), write)


def write_torch_program(part: ExportedPart, path: Path) -> Path:
    """Writes a part as program of torch.export, with its metadata; returns its path.

    Args:
        part: part to export.
        path: .pt2 file.

    Raises:
        TinyBevError: torch.export cannot record the network.
    """
    sizes = tuple(
        dict.fromkeys(part.axes.get(name, {}), torch.export.Dim.DYNAMIC) for name in part.inputs
    )
    # Otherwise conditions of PyTorch on memory layouts, such as that a padded map differs from
    # the map in size, become conditions of the program.
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        import_module('torch.fx.experimental._config').patch(backed_size_oblivious=True),
    ):
        warnings.simplefilter('ignore')
        try:
            program = torch.export.export(
                part.network, tuple(part.inputs.values()), dynamic_shapes=sizes
            )
        except Exception as error:  # raised for conditions on sizes, of any type
            raise TinyBevError(
                f'{path.name} cannot be written ({one_line(error)}); expected a network without '
                'conditions on the size or the values of its input'
            ) from error
        torch.export.save(program, path, extra_files={METADATA: json.dumps(part.description)})
    return path


def load_torch_program(path: Path) -> Callable[..., list[Tensor]]:
    """Loads a program of torch.export; returns the function from its inputs to all outputs.

    Args:
        path: .pt2 file.
    """
    program = torch.export.load(path).module()

    @torch.no_grad()
    def run(*inputs: Tensor) -> list[Tensor]:
        found = program(*inputs)
        return [found] if isinstance(found, Tensor) else list(found)

    return run
