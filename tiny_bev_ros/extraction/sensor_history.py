# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds of a bag so far, as far as the mounting of the sensor depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tiny_bev_ros.bag.cloud_frames import BagFrame
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.runtime.staleness import to_nanoseconds
from tiny_bev_ros.runtime.stamp_order import StampOrder


class SensorHistory:
    """Estimate of the mounting over the clouds of a bag, which starts over where a node's does.

    Another coordinate frame is another sensor, and stamps that go back to the first one are
    another round of the recording.

    Args:
        detector: detector whose estimate goes on.
        fields: state of `to_dict` from which it goes on; None before the first cloud.
    """

    def __init__(self, detector: Detector, fields: Mapping[str, Any] | None = None) -> None:
        self._detector = detector
        self._frame_id: str | None = None
        self._order = StampOrder()
        if fields is not None:
            self._frame_id, self._order = fields['frame_id'], StampOrder(**fields['stamps'])
        detector.restore_mounting(None if fields is None else fields['tracker'])

    def begin_cloud(self, cloud: BagFrame) -> None:
        """Resets the estimate before a cloud of another sensor or round."""
        jump = self._order.add(to_nanoseconds(cloud.stamp))
        if cloud.frame_id != self._frame_id or (jump is not None and jump.is_restart):
            self._detector.reset_mounting()
        self._frame_id = cloud.frame_id

    def to_dict(self) -> dict[str, Any]:
        """Returns everything that later clouds depend on, as exact values for JSON.

        The mounting must be estimated.
        """
        tracker = self._detector.tracker
        assert tracker is not None
        return {
            'tracker': tracker.to_dict(),
            'frame_id': self._frame_id,
            'stamps': asdict(self._order),
        }
