# SPDX-License-Identifier: Apache-2.0
"""Files of trained networks that say what they are: safetensors with a description."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.checkpoint.loading import load_backbone, load_heads, load_pfn
from tiny_bev_ros.models.checkpoint.safetensors_file import read_header
from tiny_bev_ros.models.checkpoint.weight_files import refuse_other_files

_KEY = 'tiny_bev_ros'


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a file of weights says of itself.

    Attributes:
        network: arguments of `build_detector`.
        cell: of the pseudo-image, in metres.
        z_range: of the pillars, in metres from the sensor.
        origin: how the weights were made: configuration, seed, commit, command.
    """

    network: dict[str, Any]
    cell: float
    z_range: tuple[float, float]
    origin: dict[str, Any]

    def grid(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> BevGrid:
        """A grid on which the network may be used."""
        return BevGrid(x_range, y_range, self.z_range, self.cell)


def save_weights(path: str | Path, network: nn.Module, description: CheckpointMetadata) -> None:
    """Writes a BevDetector, or one with more parts, as safetensors with the description."""
    from safetensors.torch import save_file

    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    text = json.dumps(
        {
            'network': description.network,
            'cell': description.cell,
            'z_range': list(description.z_range),
            'origin': description.origin,
        }
    )
    save_file(tensors, str(path), {_KEY: text})


def read_metadata(path: str | Path) -> CheckpointMetadata:
    """What a file of weights says of itself, without its tensors.

    Raises:
        TinyBevError: the file cannot be read, or says nothing.
    """
    path = Path(path).expanduser()
    refuse_other_files(path)
    try:
        with path.open('rb') as file:
            said = json.loads(read_header(file)['__metadata__'][_KEY])
        low, high = said['z_range']
        return CheckpointMetadata(
            dict(said['network']), float(said['cell']), (low, high), dict(said['origin'])
        )
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TinyBevError(
            f'{path} does not say what network it holds ({error}); expected a file of `train`'
        ) from None


def find_metadata(path: str | Path) -> CheckpointMetadata | None:
    """The same; None of a file that says nothing, as those of other code bases."""
    try:
        return read_metadata(path)
    except TinyBevError:
        return None


def load_weights(path: str | Path) -> tuple[BevDetector, CheckpointMetadata]:
    """The network of a file of `save_weights`, in eval mode, and its description.

    Raises:
        TinyBevError: the file cannot be read, says nothing, or does not fit what it says; see
            also `load_pfn`.
    """
    description = read_metadata(path)
    said = dict(description.network)
    said['heads'] = tuple(said.get('heads', ()))
    try:
        network = build_detector(**said)
    except TypeError as error:
        raise TinyBevError(f'{path} does not say what network it holds ({error})') from None
    load_pfn(network.pfn, path)
    load_backbone(network.backbone, path)
    load_heads(network.heads, path)
    return network.eval(), description
