# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of subscriptions and publishers."""

from __future__ import annotations

from tiny_bev_ros.inference.cloud_normalizer import MAX_HEIGHT
from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter

CLOUD = (
    Parameter(
        'cloud.intensity_field',
        'auto',
        'name of the intensity field; auto: the first of intensity, i, reflectivity',
    ),
    Parameter(
        'cloud.intensity_scale',
        1.0,
        'factor on the intensity; 0.00392 maps 0..255 to the 0..1 of KITTI',
        1e-9,
        1e9,
    ),
    Parameter(
        'cloud.missing_intensity',
        'zero',
        'treatment of a cloud without intensity, or with NaN alone: intensity 0, or an error',
        choices=('zero', 'error'),
    ),
    Parameter(
        'cloud.time_field',
        '',
        "name of the field with the time of a point, for pfn.in_channels 11; '' for none",
    ),
    Parameter(
        'cloud.time_scale', 1.0, 'seconds per unit of time_field; 1.0e-9 for ns', 1e-12, 1e12
    ),
    Parameter(
        'cloud.target_frame',
        '',
        "frame of TF into which points are transformed, such as base_link; '' for their own",
    ),
    Parameter(
        'cloud.self_box',
        [0.0] * 6,
        'box of the robot itself, of which points are left out [x0, x1, y0, y1, z0, z1], m; '
        'zeros for none',
    ),
)
SENSOR_HEIGHT = (
    Parameter(
        'cloud.sensor_height',
        'auto',
        "height above the ground of the frame's origin, for a level sensor, m; auto: height and "
        'tilt are estimated, and corrected for heads with weights',
        -MAX_HEIGHT,
        MAX_HEIGHT,
        choices=('auto',),
        or_number=True,
    ),
)
INPUT = (
    Parameter(
        'input_reliability',
        'auto',
        'QoS reliability of the subscription; auto: that of the publishers',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        'max_age_ms',
        0.0,
        'largest difference of input stamp and node time, beyond which input is dropped, ms; '
        '0 for any',
        0.0,
        1e9,
        changes='always',
    ),
    Parameter('max_message_mb', 256, 'size of a message above which it is rejected, MiB', 1, 4096),
)
TENSOR_INPUT = (Parameter('frame_id', 'lidar', 'frame of a tensor message that names none'),)
PILLAR_INPUT = (
    Parameter(
        'input_format',
        'dense',
        'input topic: pseudo_image (dense), or pillars, which is a thirtieth of its size',
        choices=('dense', 'pillars'),
    ),
)
OUTPUT = (
    Parameter(
        'output_encoding',
        'float32',
        'dtype of published tensors; float16 halves their size and travels as bytes',
        choices=('float32', 'float16'),
        changes='always',
    ),
    Parameter(
        'output_depth',
        1,
        'QoS depth: number of messages kept for a slow reliable subscriber',
        1,
        1000,
    ),
)
BEV_OUTPUT = (
    Parameter(
        'output_roi.x_range',
        [0.0, 0.0],
        'forward extent of the published BEV features [min, max], m; [0, 0] for all',
        changes='always',
    ),
    Parameter(
        'output_roi.y_range',
        [0.0, 0.0],
        'leftward extent of the published BEV features [min, max], m; [0, 0] for all',
        changes='always',
    ),
    Parameter(
        'bev_image.channel',
        -1,
        'channel that bev_image shows; -1 for the activation strength over all',
        -1,
        1023,
        changes='always',
    ),
)
