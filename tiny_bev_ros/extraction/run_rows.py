# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Results of the frames of a run, collected until their file is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.occupancy_values import occupancy_values

if TYPE_CHECKING:
    from tiny_bev_ros.detector_result import DetectorResult
    from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame
    from tiny_bev_ros.models.heads.detection import Detections


@dataclass
class FrameRows:
    """Identity of each frame of a run; one entry for each.

    Attributes:
        bags: name of the bag.
        indices: index of the cloud in the bag.
        stamps_ns: stamp of the cloud in nanoseconds.
        times_ns: time of recording in nanoseconds.
        frame_ids: coordinate frame.
    """

    bags: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    frame_ids: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame."""
        self.bags.append(frame.bag)
        self.indices.append(frame.index)
        self.stamps_ns.append(frame.stamp_ns)
        self.times_ns.append(frame.time_ns)
        self.frame_ids.append(frame.frame_id)


@dataclass
class DetectionRows:
    """Detections of a run.

    Attributes:
        frames: identity of each frame.
    """

    frames: FrameRows = field(default_factory=FrameRows)
    _boxes: list[np.ndarray] = field(default_factory=list)
    _scores: list[np.ndarray] = field(default_factory=list)
    _classes: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: ExtractedFrame) -> None:
        """Adds the detections of a frame.

        Raises:
            TinyBevError: the results have no detections, or a box or score is not finite.
        """
        result = frame.result
        required_detections(result)
        boxes, scores = result.boxes, result.scores
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise TinyBevError('detections hold NaN or Inf; expected finite numbers')
        self.frames.add(frame)
        self._boxes.append(boxes)
        self._scores.append(scores)
        self._classes.append(result.label_ids)

    @property
    def counts(self) -> np.ndarray:
        """(F,) int64 number of detections of each frame."""
        return np.array([len(each) for each in self._boxes], np.int64)

    @property
    def boxes(self) -> np.ndarray:
        """(N,7) float32 x, y, z, length, width, height, yaw, frame by frame, best first."""
        return np.concatenate([np.empty((0, 7), np.float32), *self._boxes])

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32 scores."""
        return np.concatenate([np.empty(0, np.float32), *self._scores])

    @property
    def class_ids(self) -> np.ndarray:
        """(N,) int64 classes, indices into CLASSES."""
        return np.concatenate([np.empty(0, np.int64), *self._classes])


def stored_drivable(result: DetectorResult) -> np.ndarray:
    """Returns the (h,w) uint8 drivable area: 0 for road to 100 for other ground, 255 unknown.

    Raises:
        TinyBevError: the results have no drivable area.
    """
    return occupancy_values(required_drivable(result), result.observed).view(np.uint8)


def required_drivable(result: DetectorResult) -> np.ndarray:
    """Returns the drivable area of results.

    Raises:
        TinyBevError: the results have none.
    """
    if result.drivable is None:
        raise TinyBevError('results have no drivable area; expected that of the drivable head')
    return result.drivable


def required_detections(result: DetectorResult) -> Detections:
    """Returns the detections of results.

    Raises:
        TinyBevError: the results have none.
    """
    if result.heads.detections is None:
        raise TinyBevError('results have no detections; expected those of the detection head')
    return result.heads.detections
