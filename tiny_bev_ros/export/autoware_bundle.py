# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Target `autoware` of export: a bundle for Autoware's lidar_centerpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tiny_bev_ros import __version__
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.autoware_agreement import (
    Agreement,
    add_sweep,
    detected,
    to_base_link,
)
from tiny_bev_ros.export.autoware_emulation import EmulatedNode, make_pillars
from tiny_bev_ros.export.autoware_networks import (
    HEAD_OUTPUTS,
    MAX_POINTS,
    PILLAR_CHANNELS,
    POINT_FEATURES,
    autoware_networks,
)
from tiny_bev_ros.export.autoware_options import Options
from tiny_bev_ros.export.autoware_parameters import (
    COMMON,
    ENCODER,
    HEAD,
    MANIFEST,
    METADATA,
    REMAPPER,
    common,
    manifest,
    remapper,
    write_parameters,
    write_yaml,
)
from tiny_bev_ros.export.autoware_parity import check_parity
from tiny_bev_ros.export.export_report import ExportReport, ParityRow
from tiny_bev_ros.export.exported_parts import GROUND_Z, LICENCE, ExportedPart, describe
from tiny_bev_ros.export.onnx_files import OPSET, write_onnx
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.exported_runtimes import require_package
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, load_weights
from tiny_bev_ros.models.heads.detection import check_min_scores
from tiny_bev_ros.models.layers import check_positive_int
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

# Cells of the default range on each side of the origin.
_HALF_CELLS = 256
# Number of pillars in the trace of the first network; any number is accepted afterwards.
_TRACED_PILLARS = 4


def export(options: Options, folder: Path) -> ExportReport:
    """Writes a bundle and checks it.

    Args:
        options: options of the bundle, or those of a program with `add_arguments` and weights.
        folder: folder of the bundle, which is made if it is new.

    Returns:
        Files, errors in ONNX Runtime against PyTorch, and the agreement of the emulated node with
        `Detector`, both on a simulated sweep.

    Raises:
        TinyBevError: the weights cannot be exported, a package is missing, or an error is above
            the tolerance.
    """
    for package in ('onnx', 'onnxruntime'):
        require_package(package)
    path = find_weights(options.weights)
    network, metadata = load_weights(path)
    _check_options(options, metadata)
    encoder, head = autoware_networks(network, options.sensor_height)
    stride = network.backbone.feature_info[-1].stride
    grid = _grid(options, metadata)
    parameters = manifest(
        grid, stride, options.sensor_height, options.max_voxels, options.min_scores
    )
    folder.mkdir(parents=True, exist_ok=True)
    description = describe(path, LoadedModels.from_file(path))
    # The bundle takes clouds whose ground is at z = 0.
    description.pop(GROUND_Z, None)
    _write_encoder(encoder, folder / f'{ENCODER}.onnx', description)
    _write_head(head, folder / f'{HEAD}.onnx', grid.shape, description)
    write_parameters(folder / MANIFEST, parameters)
    write_parameters(folder / REMAPPER, remapper())
    write_parameters(folder / COMMON, common())
    write_yaml(folder / METADATA, _metadata(options, path, metadata, parameters, description))
    names = (f'{ENCODER}.onnx', f'{HEAD}.onnx', MANIFEST, REMAPPER, COMMON, METADATA)
    rows, notes = _check(options, folder, encoder, head, grid)
    return ExportReport([folder / name for name in names], rows, notes)


def _check_options(options: Options, metadata: CheckpointMetadata) -> None:
    check_min_scores(options.min_scores)
    if not all(0 <= score < 1 for score in options.min_scores):
        raise TinyBevError(
            f'min_scores are {list(options.min_scores)}; expected 0 to below 1, as Autoware takes '
            'others for 0'
        )
    check_positive_int(max_voxels=options.max_voxels)
    if metadata.levelled and options.sensor_height != NOMINAL_HEIGHT:
        raise TinyBevError(
            f'sensor_height is {options.sensor_height}; expected {NOMINAL_HEIGHT}, the height to '
            "which clouds were levelled in training: Autoware's cloud has its ground at z = 0, "
            'whatever the height of its sensors'
        )


def _grid(options: Options, metadata: CheckpointMetadata) -> BevGrid:
    side = round(_HALF_CELLS * metadata.cell, 6)
    default = (-side, side)
    return metadata.grid(options.x_range or default, options.y_range or default)


def _write_encoder(encoder: nn.Module, path: Path, description: Mapping[str, str]) -> None:
    """Writes the first network; its numbers of pillars and points are dynamic."""
    example = torch.rand(_TRACED_PILLARS, MAX_POINTS, POINT_FEATURES)
    axes = {'input_features': {0: 'num_voxels', 1: 'num_max_points'}}
    axes['pillar_features'] = {0: 'num_voxels'}
    inputs = {'input_features': example}
    part = ExportedPart(path.stem, encoder, inputs, ('pillar_features',), axes, description)
    write_onnx(part, path)


def _write_head(
    head: nn.Module, path: Path, shape: tuple[int, int], description: Mapping[str, str]
) -> None:
    """Writes the second network; its batch size, height and width are dynamic."""
    # Traced at the size of the bundle, so that a size in the trace is the right one.
    example = torch.zeros(1, PILLAR_CHANNELS, *shape)
    axes = {
        name: {0: 'batch_size', 2: 'H', 3: 'W'} for name in ('spatial_features', *HEAD_OUTPUTS)
    }
    inputs = {'spatial_features': example}
    part = ExportedPart(path.stem, head, inputs, tuple(HEAD_OUTPUTS), axes, description)
    write_onnx(part, path)


def _metadata(
    options: Options,
    path: Path,
    metadata: CheckpointMetadata,
    parameters: dict[str, Any],
    description: Mapping[str, str],
) -> dict[str, Any]:
    """Returns the content of deploy_metadata.yaml, which the node does not read."""
    return {
        'version': parameters['version'],
        'tiny_bev_ros': {
            'version': __version__,
            'commit': description['commit'],
            'licence': LICENCE,
        },
        'weights': {
            'name': path.name,
            'sha256': description['weights_sha256'],
            'commit': str(metadata.origin.get('commit', 'unknown')),
        },
        'sensor_height': float(options.sensor_height),
        'onnx': {
            'opset': OPSET,
            'encoder': {'inputs': ['input_features'], 'outputs': ['pillar_features']},
            'head': {'inputs': ['spatial_features'], 'outputs': list(HEAD_OUTPUTS)},
        },
    }


def _check(
    options: Options,
    folder: Path,
    encoder: nn.Module,
    head: nn.Module,
    grid: BevGrid,
) -> tuple[list[ParityRow], list[str]]:
    """Returns errors and notes on a simulated sweep."""
    node = EmulatedNode(folder)
    sweep = scan(street(0), LIDARS['hdl64'], ego_pose(street_plan(0), 0.0)).points
    points = to_base_link(sweep, options.sensor_height)
    pillars = make_pillars(points, node.grid)
    rows = check_parity(node, pillars, encoder, head)
    detector = Detector(
        options.weights, grid=grid, device='cpu', sensor_height=NOMINAL_HEIGHT, refine_boxes=False
    )
    wanted = detected(detector, sweep, options.sensor_height, options.min_scores)
    agreement = Agreement()
    add_sweep(agreement, node, points, wanted)
    number = len(pillars.cells) + pillars.dropped
    return rows, [
        'second stage and drivable area are left out: the node has no place for them',
        f'simulated sweep: {number} pillars of at most {options.max_voxels}',
        f'emulated node on it: {agreement}',
    ]
