# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of the device, the lifecycle and the diagnostics."""

from __future__ import annotations

from tiny_bev_ros.nodes.parameter_definitions.parameter_type import Parameter

COMPUTE = (
    Parameter(
        'device',
        'auto',
        'compute device: cpu, cuda, cuda:N or auto (CUDA where available)',
    ),
    Parameter('num_threads', 0, 'number of CPU threads of PyTorch; 0 for its default', 0, 256),
    Parameter('seed', 0, 'seed of random weights', 0, 2**31 - 1),
    Parameter(
        'memory_budget_mb',
        0,
        'CUDA memory that PyTorch may take, MiB; 0 for all',
        0,
        2**20,
    ),
    Parameter(
        'memory_fallback.allow_cpu', True, 'computation on the CPU when device memory is short'
    ),
)
LOWER_PRECISION = (
    Parameter(
        'memory_fallback.allow_bfloat16',
        False,
        'computation in bfloat16 when memory is short for float32; results then change',
    ),
)
LIFECYCLE = (
    Parameter(
        'autostart',
        True,
        'configuration and activation at the start; false with a lifecycle manager',
        changes='never',
    ),
)
DIAGNOSTICS = (
    Parameter(
        'diagnostics.input_timeout_s',
        2.0,
        'time without input above which the status is ERROR, s; 0 for never',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.latency_warn_ms',
        0.0,
        '95th percentile of the time from arrival to output above which the status is WARN, ms; '
        '0 for never',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.latency_error_ms',
        0.0,
        '95th percentile of that time above which the status is ERROR, ms; 0 for never',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.rate_warn_hz',
        0.0,
        'output rate below which the status is WARN, while somebody subscribes, Hz; 0 for never',
        0.0,
        1e4,
        changes='always',
    ),
    Parameter(
        'diagnostics.rate_error_hz',
        0.0,
        'output rate below which the status is ERROR, while somebody subscribes, Hz; 0 for never',
        0.0,
        1e4,
        changes='always',
    ),
    Parameter(
        'diagnostics.dropped_warn_fraction',
        0.5,
        'fraction of dropped inputs above which the status is WARN; 1 for never',
        0.0,
        1.0,
        changes='always',
    ),
    Parameter(
        'diagnostics.dropped_error_fraction',
        0.95,
        'fraction of dropped inputs above which the status is ERROR; 1 for never',
        0.0,
        1.0,
        changes='always',
    ),
)
