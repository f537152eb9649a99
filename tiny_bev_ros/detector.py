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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.detector_result import DetectorResult, GroundPoints
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.cloud_normalizer import CloudNormalizer, SelfBox, restore_outputs
from tiny_bev_ros.inference.exported_builder import choose_device
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import LOGGER, Logger, build_runner
from tiny_bev_ros.inference.mounting_tracker import MountingState, MountingTracker
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.observed_ground import height_samples
from tiny_bev_ros.resources import find_weights

# Fewest and most values of a point: x, y, z; with intensity and time.
_MIN_VALUES, _MAX_VALUES = 3, 5
# Lowest score of a reported object, for each class.
_MIN_SCORES = (0.3,) * len(CLASSES)


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
        exported_network: file of `ros2 run tiny_bev_ros export` for the same weights, that runs
            in place of the backbone, or of backbone and heads, on the CPU: .onnx in ONNX Runtime,
            .xml in OpenVINO; '' for none.

    Attributes:
        classes: names of the object classes.
        metadata: description of the weight file; None for `from_models`.
        min_scores: lowest score of a reported object by class, unless a call has its own.
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
        exported_network: str | Path = '',
    ) -> None:
        own_box = SelfBox.from_ends(self_box)
        models = LoadedModels.from_file(
            find_weights(weights),
            x_range,
            y_range,
            grid,
            refine_boxes=refine_boxes,
            exported_network=exported_network,
        )
        config = ExecutionConfig(choose_device(str(device), exported_network), precision)
        levelled = models.metadata is not None and models.metadata.levelled
        self._set_up(models, config, sensor_height, levelled, own_box, LOGGER)

    @classmethod
    def from_models(
        cls,
        models: LoadedModels,
        config: ExecutionConfig,
        *,
        sensor_height: float | str = 'auto',
        levelled: bool = False,
        self_box: SelfBox | None = None,
        min_scores: Sequence[float] = _MIN_SCORES,
        logger: Logger = LOGGER,
    ) -> Detector:
        """Makes a detector of networks that are loaded, any heads or none among them.

        Args:
            models: pillar feature net with its grid, backbone and heads.
            config: device, precision, sparsity and threads.
            sensor_height: as for a Detector.
            levelled: true for networks that were trained on levelled clouds; others ignore
                `sensor_height: auto`.
            self_box: box of the robot's own points; None for none.
            min_scores: lowest score of a reported object, for each class.
            logger: receives a line for each setting that has no effect.
        """
        detector = cls.__new__(cls)
        detector._set_up(models, config, sensor_height, levelled, self_box, logger)
        detector.min_scores = tuple(min_scores)
        return detector

    def _set_up(
        self,
        models: LoadedModels,
        config: ExecutionConfig,
        sensor_height: float | str,
        levelled: bool,
        self_box: SelfBox | None,
        logger: Logger,
    ) -> None:
        assert models.pfn is not None and models.grid is not None
        self.grid, self.metadata = models.grid, models.metadata
        self.min_scores = _MIN_SCORES
        self._point_values, self._self_box = models.pfn.point_values, self_box
        self._normalizer = CloudNormalizer(sensor_height, self.grid.reference, levelled)
        self.runner = build_runner(models, config, shape=self.grid.shape, logger=logger)
        self.feature_grid = self.runner.feature_grid
        self.stride = round(self.feature_grid.resolution / self.grid.resolution)

    def __call__(
        self, points: np.ndarray | torch.Tensor, min_scores: float | Sequence[float] | None = None
    ) -> DetectorResult:
        """Finds objects and drivable area in one cloud.

        Points that are not finite or outside of the grid are left out. A missing intensity counts
        as 0, as in the nodes: `street` ignores the intensity, and weights that were trained with
        it lose accuracy. Networks without time ignore the fifth value.

        Args:
            points: (N,3), (N,4) or (N,5) float32 or float64 x, y, z in metres, intensity from 0
                to 1 and time in seconds; in the sensor's frame, x forward and z up.
            min_scores: lowest score of a reported object, one for all classes or one for each;
                None for the attribute, 0.3 by default.

        Raises:
            TinyBevError: the points have another shape or dtype or lack the time that the
                network takes, there is not one score for each class, or memory is short.
        """
        cloud = _prepare(points, self._point_values, self.grid.reference)
        return self.detect_local(cloud, min_scores)

    def detect_all(self, clouds: Iterable[np.ndarray | torch.Tensor]) -> Iterator[DetectorResult]:
        """Yields the result of each of successive clouds of one sensor, as a call does."""
        for points in clouds:
            yield self(points)

    def detect_local(
        self, points: np.ndarray, min_scores: float | Sequence[float] | None = None
    ) -> DetectorResult:
        """Finds objects and drivable area in a cloud that is prepared as networks take it.

        Args:
            points: (N,4) float32 x, y, z and intensity, or (N,5) with time for networks that take
                it; all finite, x and y relative to `grid.reference`, as `decode_cloud` returns
                them with this origin.
            min_scores: as for a call.

        Raises:
            TinyBevError: as for a call.
        """
        given = self.min_scores if min_scores is None else min_scores
        scores = np.atleast_1d(given).tolist()
        if np.ndim(given) == 0:
            scores *= len(CLASSES)
        cloud, levelling = self._normalizer(self._without_self(points))
        outputs = self.runner(cloud, tuple(scores))
        heads = restore_outputs(outputs.heads, levelling)
        features = None
        if outputs.features is not None:
            # A copy, as the runner overwrites its features.
            features = outputs.features.to(torch.float32, copy=True)
        ground = GroundPoints(
            outputs.pillars.cells,
            self.stride,
            height_samples(cloud).copy(),  # a view would keep all of the cloud
            self.grid.local.strided(self.stride),
            levelling,
        )
        return DetectorResult(heads, features, self.feature_grid, outputs.seconds, ground)

    @property
    def mounting(self) -> MountingState:
        """Mounting of the sensor as estimated so far, or as given by `sensor_height`."""
        return self._normalizer.state

    @property
    def tracker(self) -> MountingTracker | None:
        """Tracker of the mounting; None where it is not estimated."""
        return self._normalizer.tracker

    def track_mounting(self, points: np.ndarray) -> None:
        """Updates the estimate of the mounting by a cloud, prepared as for `detect_local`.

        Nothing is detected. `tracker` must not be None.
        """
        tracker = self._normalizer.tracker
        assert tracker is not None
        tracker.update(self._without_self(points))

    def reset_mounting(self) -> None:
        """Forgets the mounting: the next cloud is of another sensor or recording."""
        self._normalizer.reset()

    def restore_mounting(self, fields: Mapping[str, Any] | None) -> None:
        """Continues from a state of `tracker.to_dict()`; None for that before any cloud.

        Raises:
            TinyBevError: a state is given, but the mounting is not estimated.
        """
        self._normalizer.restore(fields)

    def _without_self(self, points: np.ndarray) -> np.ndarray:
        if self._self_box is None:
            return points
        return self._self_box.outside(points, self.grid.reference)


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
