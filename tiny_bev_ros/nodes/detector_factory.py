# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Builds a Detector from the parameters of `pipeline_node`, with its results; needs no ROS."""

from __future__ import annotations

from typing import Any

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.memory import limit_device_memory
from tiny_bev_ros.inference.model_builder import LOGGER, Logger
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.camera_parameters import camera_names


def make_detector(values: dict[str, Any], logger: Logger = LOGGER) -> Detector:
    """Builds the detector of the networks, grid, device and sensor of `pipeline_node`.

    Its results are those of the node for the same clouds, in the same order. They are decoded by
    `model_factory.make_cloud_options`, with `grid.reference` as their origin, and go into
    `detect_local`. Parameters of topics, of diagnostics and of fallbacks when memory is short
    have no effect.

    Args:
        values: values of `pipeline_node` by name, as from `read_parameters`.
        logger: receives the lines of the node about device and weights.

    Raises:
        TinyBevError: a parameter is wrong, as in the node, or the detector cannot follow it.
    """
    _refuse_unsupported(values)
    model_factory.check_channels(values)
    model_factory.make_cloud_options(values)  # wrong options are refused now
    self_box = model_factory.make_self_box(values)
    device = model_factory.make_device(values, logger)
    limit_device_memory(device, values['memory_budget_mb'])
    models = model_factory.load_models(
        values, logger, pfn=True, backbone=True, heads=bool(values['heads.names'])
    )
    return Detector.from_models(
        models,
        model_factory.make_config(values, device),
        sensor_height=values['cloud.sensor_height'],
        levelled=model_factory.is_levelled(values),
        self_box=self_box,
        min_scores=model_factory.make_min_scores(values),
        logger=logger,
    )


def _refuse_unsupported(values: dict[str, Any]) -> None:
    if camera_names(values):
        raise TinyBevError(
            f"parameter cameras is {values['cameras']}; expected [''], as clouds alone are used"
        )
    if values['cloud.target_frame']:
        raise TinyBevError(
            f'parameter cloud.target_frame is {values["cloud.target_frame"]!r}; '
            "expected '', as there is no TF"
        )
