# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of the grid, the LiDAR networks, their heads and their weights."""

from __future__ import annotations

from tiny_bev_ros.inference.backbone_runner import SPARSITIES
from tiny_bev_ros.inference.precision import PRECISIONS
from tiny_bev_ros.models import list_heads
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter, checkpoint
from tiny_bev_ros.resources import WEIGHTS as SHIPPED

WEIGHTS = (
    Parameter(
        'weights',
        'auto',
        'shipped weights, which set defaults of networks and grid; auto: street, unless another '
        'value is given for one of these; none: random weights',
        choices=('auto', 'none', *SHIPPED),
        changes='never',
    ),
)
GRID = (
    Parameter('grid.x_range', [0.0, 69.12], 'forward extent of the grid [min, max], m'),
    Parameter('grid.y_range', [-39.68, 39.68], 'leftward extent of the grid [min, max], m'),
    Parameter('grid.z_range', [-3.0, 1.0], 'heights between which points are used [min, max], m'),
    Parameter(
        'grid.resolution',
        0.16,
        'side of a cell, m; x_range and y_range are multiples of it',
        1e-3,
        1e3,
    ),
)
PFN = (
    Parameter(
        'pfn.in_channels',
        10,
        'features of a point: 9 with the centre offset in x and y, 10 also in z, 11 also the time',
        choices=(9, 10, 11),
    ),
    Parameter('pfn.out_channels', 64, 'number of pseudo-image channels', 1, 1024),
    Parameter(
        'pfn.max_points',
        0,
        'largest number of points per pillar; 0 for all, else padded with zeros: published '
        'weights expect 32 (KITTI) or 20 (nuScenes)',
        0,
        1024,
    ),
    Parameter(
        'pfn.legacy_offsets',
        False,
        'centre offsets in place of x, y, z, as mmdetection3d trains with legacy=True, its '
        'default for KITTI',
    ),
    checkpoint('pfn'),
)
FEATURES = (Parameter('backbone.out_channels', 128, 'number of BEV feature channels', 1, 1024),)
BACKBONE = (
    Parameter('backbone.name', 'tiny', 'name in the registry of backbones'),
    Parameter('backbone.in_channels', 64, 'number of pseudo-image channels', 1, 1024),
    Parameter('backbone.mid_channels', 64, 'number of channels before the stride of 2', 1, 1024),
    *FEATURES,
    checkpoint('backbone'),
)
EXECUTION = (
    Parameter(
        'backbone.precision',
        'float32',
        'compute dtype of the networks; auto: bfloat16 on a GPU of compute capability 8.0 or '
        'later and on a CPU with AMX, float16 on a GPU of 7.x, else float32',
        choices=PRECISIONS,
        changes='always',
    ),
    Parameter(
        'backbone.sparsity',
        'auto',
        'computation of active cells only: where it is cheaper (auto), always or never',
        choices=SPARSITIES,
        changes='always',
    ),
    Parameter(
        'backbone.exported_network',
        '',
        'exported network, a file of `ros2 run tiny_bev_ros export` for the same weights, that '
        'runs in place of the backbone, or of backbone and heads, on the CPU: .onnx in ONNX '
        "Runtime, .xml in OpenVINO; '' for none",
    ),
)
HEADS = (
    Parameter(
        'heads.names',
        list_heads(),
        'heads on the BEV features; each is computed while somebody subscribes to its output',
        choices=tuple(list_heads()),
    ),
    checkpoint('heads'),
    *(
        Parameter(
            f'detection.min_score.{name}',
            0.3,
            f'lowest score of a published {name}',
            0.0,
            1.0,
            changes='always',
        )
        for name in CLASSES
    ),
)
REFINEMENT = (
    Parameter(
        'detection.refine_boxes',
        True,
        'fit of boxes and scores to the points near them, by the second stage of '
        'heads.checkpoint; without effect on weights that have none',
    ),
)
DRIVABLE_AREA = (
    Parameter(
        'drivable_area.durability',
        'transient_local',
        'QoS durability of the topic; transient_local, which costmaps request, also serves '
        'volatile subscribers',
        choices=('transient_local', 'volatile'),
    ),
)
