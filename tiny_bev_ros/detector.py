# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detector: a point cloud to objects and drivable area in one call, without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.cloud_normalizer import CloudNormalizer, SelfBox, restore_outputs
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.mounting_tracker import MountingState
from tiny_bev_ros.models.device import resolve_device
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.resources import find_weights

# Fewest and most values of a point: x, y, z; with intensity and time.
_MIN_VALUES, _MAX_VALUES = 3, 5


class DetectedObject(NamedTuple):
    """One object in the frame of the points.

    Attributes:
        label: vehicle, pedestrian or cyclist.
        score: confidence, 0 to 1.
        x: forward position of the box's centre, in metres.
        y: leftward position of the box's centre, in metres.
        z: upward position of the box's centre, in metres.
        length: size along the heading, in metres.
        width: size across the heading, in metres.
        height: size along z, in metres.
        yaw: heading from the x axis towards the y axis, in radians, -pi to pi.
    """

    label: str
    score: float
    x: float
    y: float
    z: float
    length: float
    width: float
    height: float
    yaw: float


@dataclass(frozen=True)
class DetectorResult:
    """Outputs of a Detector for one cloud, in the frame of its points.

    Attributes:
        heads: outputs of the heads, as tensors on the CPU.
        features: (1,C,h,w) float32 BEV features on the detector's device, which may be
            channels_last in memory.
        grid: grid of the features and of the drivable area: rows run along y, columns along x.
        seconds: time of each stage, by the device's clock: pillars, backbone,
            heads, and refinement where the weights have a second stage.
    """

    heads: HeadOutputs
    features: torch.Tensor
    grid: BevGrid
    seconds: dict[str, float]

    @property
    def objects(self) -> list[DetectedObject]:
        """Objects with named values, best first."""
        return [
            DetectedObject(label, score, *box)
            for label, score, box in zip(
                self.labels, self.scores.tolist(), self.boxes.tolist(), strict=True
            )
        ]

    @property
    def boxes(self) -> np.ndarray:
        """(N,7) float32 x, y, z, length, width, height, yaw of the objects, best first."""
        detections = self.heads.detections
        return np.empty((0, 7), np.float32) if detections is None else detections.boxes.numpy()

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32 scores of the objects, 0 to 1."""
        detections = self.heads.detections
        return np.empty(0, np.float32) if detections is None else detections.scores.numpy()

    @property
    def label_ids(self) -> np.ndarray:
        """(N,) int64 classes of the objects, indices into `Detector.classes`."""
        detections = self.heads.detections
        return np.empty(0, np.int64) if detections is None else detections.labels.numpy()

    @property
    def labels(self) -> list[str]:
        """Names of the classes of the objects."""
        return [CLASSES[index] for index in self.label_ids]

    @property
    def drivable(self) -> np.ndarray | None:
        """(h,w) float32 probability of road surface on `grid`; None without that head."""
        drivable = self.heads.drivable
        return None if drivable is None else drivable.numpy()


class Detector:
    """Point clouds to objects, drivable area and BEV features.

    Args:
        weights: name of shipped weights, `street`, or path of a weight file of `train`.
        x_range: forward extent of the grid, in metres; default: 256 cells ahead, which are
            51.2 m for `street`.
        y_range: leftward extent of the grid, in metres; default: 128 cells to either side, which
            are 25.6 m for `street`.
        grid: the grid itself, in place of its extents.
        device: auto (CUDA where it works), cpu, cuda or cuda:N.
        precision: compute dtype: float32, bfloat16, float16, or auto for the device's fastest.
        sensor_height: height of the origin of the points above the ground, in metres, for a
            level sensor; 'auto' estimates height and tilt over the clouds of all calls, and
            corrects them where they are far from those of training, see `MountingTracker`;
            for weights that were not trained on levelled clouds it changes nothing.
        self_box: x0, x1, y0, y1, z0, z1 in metres: points in this box are the robot's own and
            are left out; () for none.
        refine_boxes: fits boxes and scores to the points, by the second stage of the weights;
            weights without one are used as they are.

    Attributes:
        classes: names of the object classes.
        metadata: description of the weight file.
        grid: grid of the pillars.
        stride: side of a cell of the features, in cells of the grid.
        feature_grid: grid of the features and of the drivable area.
        runner: runner of the networks, for calls of single stages.

    Raises:
        TinyBevError: an argument has no such value, or the file holds no such weights.
    """

    classes = CLASSES

    def __init__(
        self,
        weights: str | Path = 'street',
        x_range: tuple[float, float] | None = None,
        y_range: tuple[float, float] | None = None,
        *,
        grid: BevGrid | None = None,
        device: str | torch.device = 'auto',
        precision: str = 'float32',
        sensor_height: float | str = 'auto',
        self_box: Sequence[float] = (),
        refine_boxes: bool = True,
    ) -> None:
        own_box = SelfBox.from_ends(self_box)
        models = LoadedModels.from_file(
            find_weights(weights), x_range, y_range, grid, refine_boxes=refine_boxes
        )
        assert models.pfn is not None and models.grid is not None
        self.grid, self.metadata = models.grid, models.metadata
        self._point_values, self._self_box = models.pfn.point_values, own_box
        estimates = self.metadata is not None and self.metadata.levelled
        self._normalizer = CloudNormalizer(sensor_height, self.grid.reference, estimates)
        config = ExecutionConfig(resolve_device(str(device)), precision)
        self.runner = build_runner(models, config, shape=self.grid.shape)
        self.feature_grid = self.runner.feature_grid
        self.stride = round(self.feature_grid.resolution / self.grid.resolution)

    def __call__(
        self, points: np.ndarray | torch.Tensor, min_scores: float | Sequence[float] = 0.3
    ) -> DetectorResult:
        """Finds objects and drivable area in one cloud.

        Points that are not finite or outside of the grid are left out. A missing intensity counts
        as 0, as in the nodes: `street` ignores the intensity, and weights that were trained with
        it lose accuracy. Networks without time ignore the fifth value.

        Args:
            points: (N,3), (N,4) or (N,5) float32 or float64 x, y, z in metres, intensity from 0
                to 1 and time in seconds; in the sensor's frame, x forward and z up.
            min_scores: lowest score of a reported object, one for all classes or one for each.

        Raises:
            TinyBevError: the points have another shape or dtype or lack the time that the
                network takes, there is not one score for each class, or memory is short.
        """
        scores = np.atleast_1d(min_scores).tolist()
        if np.ndim(min_scores) == 0:
            scores *= len(CLASSES)
        cloud = _prepare(points, self._point_values, self.grid.reference)
        if self._self_box is not None:
            cloud = self._self_box.outside(cloud, self.grid.reference)
        cloud, levelling = self._normalizer(cloud)
        outputs = self.runner(cloud, tuple(scores))
        heads = restore_outputs(outputs.heads, levelling)
        # A copy, as the runner overwrites its features.
        features = outputs.features.to(torch.float32, copy=True)
        return DetectorResult(heads, features, self.feature_grid, outputs.seconds)

    @property
    def mounting(self) -> MountingState:
        """Mounting of the sensor as estimated so far, or as given by `sensor_height`."""
        return self._normalizer.state

    def reset_mounting(self) -> None:
        """Forgets the mounting: the next cloud is of another sensor or recording."""
        self._normalizer.reset()


def _prepare(points: Any, values: int, reference: tuple[float, float]) -> np.ndarray:
    """Brings points into the form of the network.

    Args:
        points: cloud as the caller passed it.
        values: number of values that the network takes of a point: 4, or 5 with time.
        reference: (x, y) that is subtracted before positions are rounded to float32.

    Returns:
        (N, values) float32, all finite.
    """
    if isinstance(points, torch.Tensor) and points.dtype in (torch.float32, torch.float64):
        points = points.detach().cpu().numpy()
    if not isinstance(points, np.ndarray) or points.dtype not in (np.float32, np.float64):
        kind = getattr(points, 'dtype', type(points).__name__)
        raise TinyBevError(
            f'points are {kind}; expected a NumPy array or a tensor of float32 or float64'
        )
    if points.ndim != 2 or not _MIN_VALUES <= points.shape[1] <= _MAX_VALUES:
        raise TinyBevError(f'points have shape {points.shape}; expected (N, 3), (N, 4) or (N, 5)')
    if points.shape[1] < values == _MAX_VALUES:
        raise TinyBevError(
            f'points have {points.shape[1]} values; expected 5, x, y, z, intensity and time, '
            'which the network takes'
        )
    points = points[:, :values]
    if any(reference):
        points = points.copy()
        points[:, :2] -= np.asarray(reference, points.dtype)
    with np.errstate(over='ignore'):  # numbers beyond float32 are left out below
        points = points.astype(np.float32, order='C', copy=False)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        points = points[finite]
    return np.pad(points, [(0, 0), (0, values - points.shape[1])])
