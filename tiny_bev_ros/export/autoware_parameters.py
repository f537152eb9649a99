# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files of a bundle for Autoware's lidar_centerpoint beside its networks: parameters and metadata.

Keys and rules are those of the schemas of autoware_lidar_centerpoint for bundles of version 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.autoware_networks import POINT_FEATURES
from tiny_bev_ros.grid import BevGrid

BUNDLE_VERSION = 'v4.1'
ENCODER, HEAD = 'pts_voxel_encoder', 'pts_backbone_neck_head'
MANIFEST = 'ml_package.param.yaml'
REMAPPER = 'detection_class_remapper.param.yaml'
COMMON = 'centerpoint_common.param.yaml'
METADATA = 'deploy_metadata.yaml'
# Names that the node knows, in the order of `tiny_bev_ros.models.heads.detection.CLASSES`.
CLASS_NAMES = ('CAR', 'PEDESTRIAN', 'BICYCLE')
# Distance in metres beyond which the node drops objects, unless the grid reaches farther.
_MAX_DISTANCE = 200.0
# Labels of autoware_perception_msgs/ObjectClassification.
_NUM_LABELS, _CAR, _TRUCK, _TRAILER = 8, 1, 2, 4
# Areas in m^2, seen from above, of vehicles that are trucks and trailers: the node's defaults.
_AREAS = {_TRUCK: (12.1, 36.0), _TRAILER: (36.0, 999.999)}


def manifest(
    grid: BevGrid,
    stride: int,
    sensor_height: float,
    max_voxels: int,
    min_scores: Sequence[float],
) -> dict[str, Any]:
    """Returns the parameters of ml_package.param.yaml.

    Args:
        grid: grid of the pillars, as the networks take it.
        stride: side of a cell of the outputs, in cells of the grid.
        sensor_height: z of the origin of the networks in the frame of Autoware's cloud, in
            metres.
        max_voxels: number of pillars that the node keeps.
        min_scores: lowest score of a reported object, for each class.

    Raises:
        TinyBevError: the node would compute another grid, as it does so in float32.
    """
    low, high = (round(end + sensor_height, 6) for end in grid.z_range)
    (x_low, x_high), (y_low, y_high) = grid.x_range, grid.y_range
    _check_cells(grid, stride)
    farthest = math.hypot(*(max(map(abs, ends)) for ends in (grid.x_range, grid.y_range)))
    limit = max(_MAX_DISTANCE, float(math.ceil(farthest) + 1))
    return {
        'version': BUNDLE_VERSION,
        'encoder_onnx_path': f'{ENCODER}.onnx',
        'encoder_engine_path': f'{ENCODER}.engine',
        'head_onnx_path': f'{HEAD}.onnx',
        'head_engine_path': f'{HEAD}.engine',
        'class_remapper_param_path': REMAPPER,
        'trt_precision': 'fp32',
        'model_params': {
            'class_names': list(CLASS_NAMES),
            'point_feature_size': 4,
            'max_voxel_size': max_voxels,
            'point_cloud_range': [x_low, y_low, low, x_high, y_high, high],
            'voxel_size': [grid.resolution, grid.resolution, round(high - low, 6)],
            'downsample_factor': stride,
            'encoder_in_feature_size': POINT_FEATURES,
            'has_variance': False,
            'has_twist': False,
            'yaw_norm_thresholds': [0.0] * len(CLASS_NAMES),
            'detection_score_thresholds': {
                'distance_bin_upper_limits': [limit],
                'min_confidence_scores': {
                    name: [float(score)]
                    for name, score in zip(CLASS_NAMES, min_scores, strict=True)
                },
            },
        },
    }


def _check_cells(grid: BevGrid, stride: int) -> None:
    """Refuses grids whose number of cells the node would round down, or that stride cuts."""
    ranges = {'y_range': grid.y_range, 'x_range': grid.x_range}
    for (name, ends), cells in zip(ranges.items(), grid.shape, strict=True):
        low, high = np.float32(ends[0]), np.float32(ends[1])
        found = int((high - low) / np.float32(grid.resolution))
        if found != cells:
            raise TinyBevError(
                f'{name} is {list(ends)}, which are {found} cells of {grid.resolution:g} m in the '
                f'float32 of Autoware; expected {cells}: take another range'
            )
        if cells % stride:
            raise TinyBevError(
                f'{name} is {list(ends)}, which are {cells} cells; expected a multiple of {stride}'
            )


def remapper() -> dict[str, Any]:
    """Returns the parameters of detection_class_remapper.param.yaml.

    Vehicles of this package are of any kind; large ones become trucks and trailers.
    """
    size = _NUM_LABELS**2
    allowed, lowest, largest = [0] * size, [0.0] * size, [0.0] * size
    for label, (low, high) in _AREAS.items():
        index = _CAR * _NUM_LABELS + label
        allowed[index], lowest[index], largest[index] = 1, low, high
    return {
        'allow_remapping_by_area_matrix': allowed,
        'min_area_matrix': lowest,
        'max_area_matrix': largest,
    }


def common() -> dict[str, Any]:
    """Returns the parameters of centerpoint_common.param.yaml: the node's defaults, one sweep.

    Networks of this package take single sweeps; past ones would smear moving objects. With none
    the node needs no transforms.
    """
    return {
        'cloud_capacity': 2000000,
        'post_process_params': {
            'circle_nms_dist_threshold': 0.5,
            'iou_nms_search_distance_2d': 10.0,
            'iou_nms_threshold': 0.1,
        },
        'densification_params': {'world_frame_id': 'map', 'num_past_frames': 0},
        'diagnostics': {
            'max_allowed_processing_time_ms': 200.0,
            'max_acceptable_consecutive_delay_ms': 1000.0,
            'validation_callback_interval_ms': 100.0,
        },
    }


def write_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Writes parameters of a node of any name."""
    write_yaml(path, {'/**': {'ros__parameters': parameters}})


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Writes a YAML file with keys in their order and short lists in one line."""
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    path.write_text(text, encoding='utf-8')


def read_parameters(path: Path) -> dict[str, Any]:
    """Reads the parameters of a file of `write_parameters`."""
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    parameters: dict[str, Any] = content['/**']['ros__parameters']
    return parameters
