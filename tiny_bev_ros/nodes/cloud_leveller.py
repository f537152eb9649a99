# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Levels the clouds of a node, and reports the mounting of the sensor."""

from __future__ import annotations

import math

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.cloud_normalizer import CloudNormalizer, restore_outputs
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.mounting_tracker import MountingState
from tiny_bev_ros.models.sensor_mounting import NOMINAL_HEIGHT, MountingEstimate
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.model_factory import is_levelled
from tiny_bev_ros.nodes.subscriptions import LabelledCloud

_ESTIMATE_KEYS = (
    'sensor_height_m',
    'sensor_pitch_deg',
    'sensor_roll_deg',
    'sensor_ground_m2',
    'sensor_clouds',
)


class CloudLeveller:
    """Applies the parameter `cloud.sensor_height` to the clouds of a node, one after the other.

    The estimate starts over with each activation, with another frame of the clouds and where a
    bag starts over. It is part of the diagnostics, and a correction that begins, changes in kind
    or ends is logged.

    Args:
        node: node with the parameters.
        grid: grid of the pillars.
    """

    def __init__(self, node: BevNode, grid: BevGrid) -> None:
        self._node, self._height = node, node.values['cloud.sensor_height']
        self._normalizer = CloudNormalizer(self._height, grid.reference)
        self._source: tuple[str | None, int] | None = None
        self._weights, self._is_levelled = '', False
        self._last = self._normalizer.state
        node.stats.points.mounting = mounting_values(self._last)

    def level(self, cloud: LabelledCloud) -> LabelledCloud:
        """Returns a cloud with the points that networks take, and their levelling."""
        with self._node.timed('levelling'):
            if not self._is_wanted():
                return cloud
            source = (cloud.labels.frame_id, self._node.stats.restarts)
            if source != self._source:
                self._source = source
                self._normalizer.reset()
            points, levelling = self._normalizer(cloud.points)
            self._report(self._normalizer.state)
        return cloud._replace(points=points, levelling=levelling)

    def restore(self, outputs: HeadOutputs, cloud: LabelledCloud) -> HeadOutputs:
        """Returns outputs in the frame of a cloud, without objects around the sensor."""
        restored = restore_outputs(outputs, cloud.levelling, cloud.sensor)
        if outputs.detections is not None and restored.detections is not None:
            left_out = len(outputs.detections.boxes) - len(restored.detections.boxes)
            self._node.stats.points.around_sensor = left_out
        return restored

    def _is_wanted(self) -> bool:
        """Returns True unless 'auto' would level clouds for networks that were not trained so."""
        if self._height != 'auto':
            return True
        values = self._node.values
        path = values['heads.checkpoint'] if values['heads.names'] else ''
        if path != self._weights:  # loaded at start or by a reload
            self._weights = path
            self._is_levelled = is_levelled(values)
        return self._is_levelled

    def _report(self, state: MountingState) -> None:
        self._node.stats.points.mounting = mounting_values(state)
        last, self._last = self._last, state
        corrected = (state.height_corrected, state.tilt_corrected)
        if state.estimate is None or corrected == (last.height_corrected, last.tilt_corrected):
            return
        kinds = _corrected_text(state)
        self._node.get_logger().info(
            f'points: {_estimate_text(state.estimate)}; '
            f'corrected for the networks: {kinds or "nothing"}'
        )


def mounting_values(state: MountingState) -> dict[str, str]:
    """Returns keys and values for diagnostics."""
    estimate = state.estimate
    corrected = _corrected_text(state) or 'none'
    if estimate is None:
        return {**dict.fromkeys(_ESTIMATE_KEYS, 'unknown'), 'sensor_corrected': corrected}
    values = (
        f'{estimate.height:.2f}',
        f'{math.degrees(estimate.pitch):.1f}',
        f'{math.degrees(estimate.roll):.1f}',
        f'{estimate.support}',
        f'{state.clouds}',
    )
    return {**dict(zip(_ESTIMATE_KEYS, values, strict=True)), 'sensor_corrected': corrected}


def _corrected_text(state: MountingState) -> str:
    kinds = {'height': state.height_corrected, 'tilt': state.tilt_corrected}
    return ' and '.join(kind for kind, is_corrected in kinds.items() if is_corrected)


def _estimate_text(estimate: MountingEstimate) -> str:
    return (
        f'the origin is {estimate.height:.2f} m above the ground (nominal {NOMINAL_HEIGHT:g}), '
        f'pitch {math.degrees(estimate.pitch):.1f}, roll {math.degrees(estimate.roll):.1f} degrees'
    )
