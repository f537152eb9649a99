# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Run of `pipeline_node` on the device, where ROS 2 and the built package are there."""

from __future__ import annotations

from benchmarks.gpu.check_section import CheckSettings, SectionResult
from tiny_bev_ros.optional_imports import import_optional, one_line


def check_node(settings: CheckSettings) -> SectionResult:
    """Runs the node as a process; skipped with the reason where there is no ROS 2."""
    # The module needs rclpy and message packages.
    run, reason = import_optional('benchmarks.gpu.node_run')
    if reason:
        return SectionResult(skipped=reason)
    try:
        result: SectionResult = run.run_node(settings)
    except (LookupError, OSError) as error:
        # LookupError: the package is not built. OSError: no ROS environment is sourced.
        return SectionResult(skipped=one_line(error))
    return result
