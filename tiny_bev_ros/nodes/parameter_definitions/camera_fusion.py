# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of cameras, their encoder and the fusion of their features."""

from __future__ import annotations

from tiny_bev_ros.models.fusion.futr import MODES
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter, checkpoint

# Longest side of an image in pixels.
_MAX_PIXELS = 2**16

CAMERAS = (
    Parameter(
        'cameras',
        [''],
        "names of the cameras, such as [front, left]: prefixes of their topics; [''] for none",
    ),
    Parameter(
        'sync.slop_ms',
        50.0,
        'largest stamp difference of BEV features and camera features that are fused, ms',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'sync.timeout_ms',
        50.0,
        'longest wait of BEV features for cameras that are behind, ms',
        0.0,
        1e4,
        changes='always',
    ),
)
CAMERA_FEATURES = (Parameter('camera.channels', 64, 'number of camera feature channels', 1, 1024),)
CAMERA = (
    Parameter(
        'camera.encoder',
        'tiny',
        'camera encoder: tiny, or a network of timm where that package is installed',
    ),
    *CAMERA_FEATURES,
    Parameter(
        'camera.stride', 8, 'pixels per feature along both axes; tiny: 2, 4, 8, 16, 32', 1, 64
    ),
    Parameter(
        'camera.resize_width',
        0,
        'width to which images are scaled, pixels; 0 keeps their size',
        0,
        _MAX_PIXELS,
    ),
    Parameter(
        'camera.crop_height',
        0,
        'number of lowest rows of the scaled image that are kept, pixels; 0 keeps all',
        0,
        _MAX_PIXELS,
    ),
    checkpoint('camera'),
)
FUSION = (
    Parameter(
        'fusion.mode',
        'projected',
        'pixels to which a cell attends: those onto which it is projected, or all (global)',
        choices=MODES,
    ),
    Parameter(
        'fusion.num_heads',
        4,
        'number of attention heads; backbone.out_channels is a multiple of it',
        1,
        64,
    ),
    Parameter(
        'fusion.heights',
        [-1.5, -0.5, 0.5, 1.5],
        'heights of the reference points of a cell above the origin of the frame, m',
    ),
    checkpoint('fusion', 'a fusion that adds nothing to the BEV features'),
)
