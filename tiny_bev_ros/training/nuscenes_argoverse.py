# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Labelled sweeps of nuScenes and Argoverse 2, as their samples are distributed, for evaluation.

Frames are those of the sensor or, for Argoverse 2, of the vehicle, whose origin lies near the
ground. Nothing is raised or levelled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.training.evaluation import EvalFrame, Square, sweep_eval_frame
from tiny_bev_ros.training.labelled_frame import Frame, instance_ids

# Class of this package by the category of a data set, and true for categories that resemble it.
_NUSCENES = {
    'car': (0, False),
    'truck': (0, False),
    'bus': (0, False),
    'trailer': (0, True),
    'construction_vehicle': (0, True),
    'pedestrian': (1, False),
    'bicycle': (2, True),
    'motorcycle': (2, True),
}
_ARGOVERSE = {
    'REGULAR_VEHICLE': (0, False),
    'LARGE_VEHICLE': (0, False),
    'BOX_TRUCK': (0, False),
    'TRUCK': (0, False),
    'TRUCK_CAB': (0, False),
    'BUS': (0, False),
    'SCHOOL_BUS': (0, False),
    'ARTICULATED_BUS': (0, False),
    'VEHICULAR_TRAILER': (0, True),
    'PEDESTRIAN': (1, False),
    'OFFICIAL_SIGNALER': (1, True),
    'STROLLER': (1, True),
    'WHEELCHAIR': (1, True),
    'BICYCLIST': (2, False),
    'MOTORCYCLIST': (2, True),
    'WHEELED_RIDER': (2, True),
    'BICYCLE': (2, True),
    'MOTORCYCLE': (2, True),
}


class MissingDataError(TinyBevError):
    """Data of a set, or a package that reads them, are missing."""


def nuscenes_frames(folder: Path, reach: float) -> list[EvalFrame]:
    """Reads the sweep of a sample of nuScenes (Caesar et al., CVPR 2020) in mmdetection3d's form.

    Args:
        folder: folder with info_derived.json, a JSON form of mmdetection3d's info file, and the
            sweep, float32 x, y, z, intensity (0 to 255), ring.
        reach: distance in metres along x and y up to which objects have to be detected.

    Raises:
        MissingDataError: the folder has no such files.
    """
    info = folder / 'info_derived.json'
    if not info.is_file():
        raise MissingDataError(f'{info} is no file; expected the sample of nuScenes')
    content = json.loads(info.read_text())
    names = {index: name for name, index in content['metainfo']['categories'].items()}
    frames = []
    for sample in content['data_list']:
        path = folder / sample['lidar_points']['lidar_path']
        if not path.is_file():
            raise MissingDataError(f'{path} is no file; expected the sweep that {info} names')
        sweep = np.fromfile(path, np.float32).reshape(-1, 5)
        # The sensor's x points right and its y ahead.
        points = np.stack([sweep[:, 1], -sweep[:, 0], sweep[:, 2], sweep[:, 3] / 255], axis=1)
        boxes = np.array([each['bbox_3d'] for each in sample['instances']], np.float64)
        boxes = boxes.reshape(-1, 7)
        boxes[:, :2] = np.stack([boxes[:, 1], -boxes[:, 0]], axis=1)
        boxes[:, 6] -= np.pi / 2
        kinds = [names.get(each['bbox_label'], '') for each in sample['instances']]
        frames.append(_frame('nuscenes', points, boxes, [_NUSCENES.get(k) for k in kinds], reach))
    return frames


def argoverse_frames(folder: Path, reach: float) -> list[EvalFrame]:
    """Reads the sweeps of logs of Argoverse 2 (Wilson et al., NeurIPS 2021), in order of time.

    Args:
        folder: folder with a folder for each log: annotations.feather and sensors/lidar/.
        reach: distance in metres along x and y up to which objects have to be detected.

    Raises:
        MissingDataError: the folder has no such sweeps, pyarrow is missing, or a sweep has no
            labels.
    """
    sweeps = sorted(folder.glob('*/sensors/lidar/*.feather'))
    if not sweeps:
        raise MissingDataError(f'{folder} holds no LOG/sensors/lidar/*.feather; expected some')
    feather, reason = import_optional('pyarrow.feather')
    if feather is None:
        raise MissingDataError(f'{reason}; expected pyarrow, which reads feather files')
    frames = []
    for path in sweeps:
        sweep = feather.read_table(path)
        points = np.stack([_column(sweep, name) for name in ('x', 'y', 'z', 'intensity')], axis=1)
        points[:, 3] /= 255
        labels = feather.read_table(path.parents[2] / 'annotations.feather')
        now = labels['timestamp_ns'].to_numpy() == int(path.stem)
        if not now.any():
            raise MissingDataError(f'{path} has no labels; expected some of its time')
        names = ('tx_m', 'ty_m', 'tz_m', 'length_m', 'width_m', 'height_m', 'qw', 'qz')
        *sides, qw, qz = (_column(labels, name)[now] for name in names)
        yaw = (2 * np.arctan2(qz, qw) + np.pi) % (2 * np.pi) - np.pi
        boxes = np.stack([*sides, yaw], axis=1)
        kinds = np.array(labels['category'].to_pylist())[now]
        frames.append(_frame(path.stem, points, boxes, [_ARGOVERSE.get(k) for k in kinds], reach))
    return frames


def _column(table: Any, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), np.float64)


def _frame(
    name: str,
    points: np.ndarray,
    boxes: np.ndarray,
    kinds: list[tuple[int, bool] | None],
    reach: float,
) -> EvalFrame:
    labels = np.array([-1 if kind is None else kind[0] for kind in kinds], np.int64)
    resembles = np.array([kind is not None and kind[1] for kind in kinds], np.bool_)
    points, boxes = points.astype(np.float32), boxes.astype(np.float32)
    frame = Frame(points, instance_ids(boxes, points), boxes, labels, whole=True)
    return sweep_eval_frame(name, frame, Square(reach), resembles)
