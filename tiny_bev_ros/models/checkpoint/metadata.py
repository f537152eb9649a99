# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Checkpoints of trained networks: safetensors with metadata that describes the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.file_replacement import replacing
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.checkpoint.loading import load_checkpoint
from tiny_bev_ros.models.checkpoint.safetensors_file import read_header
from tiny_bev_ros.models.checkpoint.weight_files import refuse_other_files

_KEY = 'tiny_bev_ros'
# Number of cells of the default grid ahead of the sensor; half as many lie to either side.
_DEFAULT_CELLS = 256


@dataclass(frozen=True)
class CheckpointMetadata:
    """Description of the network in a checkpoint.

    Attributes:
        network: keyword arguments of `build_detector`.
        cell: side of a cell of the pseudo-image, in metres.
        z_range: lower and upper end of the pillars, in metres from the sensor.
        origin: configuration, seed, commit and command of the training.
        levelled: true for a training on clouds that were levelled to the nominal mounting, see
            `sensor_mounting`, to which clouds of other mountings are levelled then.
    """

    network: dict[str, Any]
    cell: float
    z_range: tuple[float, float]
    origin: dict[str, Any]
    levelled: bool = False

    @property
    def default_ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Extents of the default grid along x and y in metres: 256 cells ahead of the sensor."""
        side = _DEFAULT_CELLS * self.cell
        return (0.0, side), (-side / 2, side / 2)

    def grid(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> BevGrid:
        """Returns the grid for the network over an area in metres."""
        return BevGrid(x_range, y_range, self.z_range, self.cell)


def save_weights(path: str | Path, network: nn.Module, metadata: CheckpointMetadata) -> None:
    """Writes the weights of a BevDetector with their metadata, as safetensors."""
    from safetensors.torch import save_file

    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    text = json.dumps(
        {
            'network': metadata.network,
            'cell': metadata.cell,
            'z_range': list(metadata.z_range),
            'origin': metadata.origin,
            'levelled': metadata.levelled,
        }
    )
    with replacing(path) as new:
        save_file(tensors, str(new), {_KEY: text})


def read_metadata(path: str | Path) -> CheckpointMetadata:
    """Reads the metadata of a checkpoint, without its tensors.

    Raises:
        TinyBevError: the file cannot be read, or has no metadata.
    """
    path = Path(path).expanduser()
    refuse_other_files(path)
    try:
        with path.open('rb') as file:
            fields = json.loads(read_header(file)['__metadata__'][_KEY])
        low, high = fields['z_range']
        return CheckpointMetadata(
            dict(fields['network']),
            float(fields['cell']),
            (low, high),
            dict(fields['origin']),
            bool(fields.get('levelled', False)),
        )
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_metadata_error(path, error) from None


def find_metadata(path: str | Path) -> CheckpointMetadata | None:
    """Reads the metadata as `read_metadata` does; None for files of other code bases."""
    try:
        return read_metadata(path)
    except TinyBevError:
        return None


def load_weights(path: str | Path) -> tuple[BevDetector, CheckpointMetadata]:
    """Builds the network of a checkpoint by its metadata and loads its weights.

    Args:
        path: file of `save_weights`.

    Returns:
        The network in eval mode, without cameras, and the metadata.

    Raises:
        TinyBevError: the file cannot be read, has no metadata, or its tensors do not fit it; see
            `load_checkpoint`.
    """
    return load_weights_with_digest(path)[:2]


def load_weights_with_digest(path: str | Path) -> tuple[BevDetector, CheckpointMetadata, str]:
    """Returns network and metadata as `load_weights`, and the SHA-256 of the file."""
    metadata = read_metadata(path)
    network_fields = dict(metadata.network)
    network_fields['heads'] = tuple(network_fields.get('heads', ()))
    try:
        network = build_detector(**network_fields)
    except TypeError as error:
        raise _no_metadata_error(path, error) from None
    parts = {'pfn': network.pfn, 'backbone': network.backbone, 'heads': network.heads}
    info = load_checkpoint(path, parts)
    return network.eval(), metadata, info['pfn'].digest


def _no_metadata_error(path: str | Path, error: Exception) -> TinyBevError:
    return TinyBevError(
        f'{path} has no metadata of a network ({error}); expected a file of `train`'
    )
