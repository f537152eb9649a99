# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parts of a detector that the targets export: names, shapes and meanings of their tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros import __version__
from tiny_bev_ros.export.exported_networks import BackboneWithHeads, PaddedPfn
from tiny_bev_ros.file_digest import file_sha256
from tiny_bev_ros.inference.exported_runners import FEATURES
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models.checkpoint.metadata import read_metadata
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.resources import CAMERA_WEIGHTS, WEIGHTS, weights_file
from tiny_bev_ros.source_commit import commit_of_source

# Key of the z of the ground, in metres.
GROUND_Z = 'levelled_ground_z_m'
# Licence of shipped weights; others are their owner's.
LICENCE = 'Apache-2.0'
# Sizes while a network is recorded; parity is measured at others.
_TRACED_BATCH, _TRACED_SIZE, _TRACED_PILLARS, _TRACED_POINTS = 2, (56, 72), 6, 5
_MAP_AXES = {0: 'batch', 2: 'height', 3: 'width'}
_FEATURE_AXES = {0: 'batch', 2: 'feature_height', 3: 'feature_width'}
MEANINGS = {
    'pseudo_image': 'pillar features scattered to their cells, 0 elsewhere; row along y, column '
    'along x',
    FEATURES: 'BEV features',
    'scores': f'calibrated score that the centre of an object lies in the cell: '
    f'{", ".join(CLASSES)}; vehicles and cyclists are at local maxima of '
    '3 x 3 cells, pedestrians may be in adjacent cells',
    'boxes': 'offset x and y of the centre from that of the cell, in cells; z, length, width, '
    'height in metres; sine and cosine of twice the yaw; sign of the cosine of the yaw',
    'drivable': 'probability of road surface',
    'points': 'x, y, z in metres, intensity (, time) of the points of each pillar, padded',
    'counts': 'number of points of each pillar',
    'centres': 'x and y in metres of the centre of the cell of each pillar',
    'pillar_features': 'features of each pillar, 0 without points',
}


@dataclass(frozen=True)
class ExportedPart:
    """One network of an export.

    Attributes:
        name: name of its file, without suffix.
        network: network in eval mode, from tensors to a tensor or a tuple of them.
        inputs: example inputs by name, in the order of the arguments; their sizes are traced.
        outputs: names of the outputs.
        axes: names of the axes whose size may change, by index, for inputs and outputs.
        metadata: description of the weights.
        number_format: format of the weights in the file.
    """

    name: str
    network: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    number_format: str = 'float32'

    @property
    def description(self) -> dict[str, str]:
        """Metadata of the file, with the number format."""
        return {**self.metadata, 'number_format': self.number_format}


def backbone_part(
    backbone: nn.Module, in_channels: int, metadata: Mapping[str, str] | None = None
) -> ExportedPart:
    """Returns a backbone alone, from `pseudo_image` to `bev_features`."""
    return _map_part('backbone', backbone, in_channels, (FEATURES,), metadata or {})


def build_parts(models: LoadedModels, metadata: Mapping[str, str]) -> list[ExportedPart]:
    """Returns backbone, backbone with heads if there are any, and pillar feature net.

    Args:
        models: networks of one weight file.
        metadata: description of the weights; see `describe`.

    Raises:
        TinyBevError: a head or the pillar feature net has no exported form.
    """
    pfn, backbone = models.pfn, models.backbone
    assert pfn is not None and backbone is not None and models.grid is not None
    parts = [backbone_part(backbone, pfn.out_channels, metadata)]
    if models.heads:
        network = BackboneWithHeads(backbone, models.heads).eval()
        parts.append(
            _map_part('backbone_heads', network, pfn.out_channels, network.outputs, metadata)
        )
    examples = {
        'points': torch.rand(_TRACED_PILLARS, _TRACED_POINTS, pfn.point_values),
        'counts': torch.arange(_TRACED_PILLARS, dtype=torch.int32) % _TRACED_POINTS + 1,
        'centres': torch.rand(_TRACED_PILLARS, 2),
    }
    axes = {name: {0: 'pillars'} for name in ('points', 'counts', 'centres', 'pillar_features')}
    axes['points'] = {0: 'pillars', 1: 'max_points'}
    padded = PaddedPfn(pfn, models.grid.z_range).eval()
    parts.append(ExportedPart('pfn', padded, examples, ('pillar_features',), axes, metadata))
    return parts


def _map_part(
    name: str,
    network: nn.Module,
    in_channels: int,
    outputs: tuple[str, ...],
    metadata: Mapping[str, str],
) -> ExportedPart:
    example = torch.rand(_TRACED_BATCH, in_channels, *_TRACED_SIZE)
    axes = {'pseudo_image': _MAP_AXES, **dict.fromkeys(outputs, _FEATURE_AXES)}
    return ExportedPart(name, network, {'pseudo_image': example}, outputs, axes, metadata)


def describe(weights: Path, models: LoadedModels) -> dict[str, str]:
    """Returns the metadata of all files of an export, as texts.

    GROUND_Z, the z of the ground in levelled clouds, is that of weights that take these alone, and
    the licence that of shipped weights alone.

    Args:
        weights: weight file.
        models: its networks.
    """
    assert models.grid is not None
    backbone: Any = models.backbone
    metadata = {
        'producer': f'tiny_bev_ros {__version__}',
        'commit': commit_of_source(),
        'weights': weights.stem,
        'weights_sha256': file_sha256(weights),
        'resolution_m': str(models.grid.resolution),
        'z_range_m': json.dumps(models.grid.z_range),
        'stride': str(backbone.feature_info[-1].stride),
        'classes': json.dumps(CLASSES),
    }
    if read_metadata(weights).levelled:
        metadata[GROUND_Z] = str(-NOMINAL_HEIGHT)
    if str(weights) in [weights_file(name) for name in (*WEIGHTS, CAMERA_WEIGHTS)]:
        metadata['licence'] = LICENCE
    return metadata
