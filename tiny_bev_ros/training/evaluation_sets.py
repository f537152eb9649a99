# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Named sets of frames on which weights are evaluated.

Frames are raw: neither raised nor levelled. A set is one sensor on one vehicle, whose frames are
consecutive inputs of one Detector.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.sim import Mounting
from tiny_bev_ros.training.augment import transform
from tiny_bev_ros.training.evaluation import (
    Disc,
    EvalFrame,
    simulated_eval_frame,
    sweep_eval_frame,
)
from tiny_bev_ros.training.kitti import KittiFolder
from tiny_bev_ros.training.kitti_eval import kitti_eval_frames
from tiny_bev_ros.training.nuscenes_argoverse import (
    MissingDataError,
    argoverse_frames,
    nuscenes_frames,
)
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame

# Pool of the recorded sets.
REAL = 'real'
# Distance in metres up to which objects are evaluated.
_REACH = 50.0
_DEFAULT_LIDAR = 'vlp32'


@dataclass(frozen=True)
class SimulatedSet:
    """Simulated streets of the seeds 0, 1, 2 and so on.

    Attributes:
        title: description for tables, with {lidar} for the sensor.
        lidar: name of the sensor; '' for that of the options.
        mounting: mounting of the sensor in all frames; None for the usual ones on cars, 1.5 to
            2.1 m above the ground and level up to a standard deviation of 0.6 degrees, another
            for each street.
        angle: angle in radians by which frames are rotated about z.
            Objects then count in a circle: the corners of a square would add the far ends of the
            road.
        reach: distance in metres along x and y up to which objects have to be detected.
    """

    title: str
    lidar: str = ''
    mounting: Mounting | None = None
    angle: float = 0.0
    reach: float = _REACH

    def frame(self, seed: int, lidar: str = _DEFAULT_LIDAR) -> EvalFrame:
        """Simulates the frame of a street.

        Args:
            seed: seed of the street.
            lidar: name of the sensor of sets without one of their own.
        """
        lidars = (self.lidar or lidar,)
        frame = simulate_lidar_frame(seed, lidars, self.mounting)
        if not self.angle:
            return simulated_eval_frame(str(seed), frame, self.reach)
        return sweep_eval_frame(str(seed), transform(frame, self.angle), Disc(self.reach))


@dataclass(frozen=True)
class RecordedSet:
    """Recorded frames.

    Attributes:
        title: description for tables.
        folder: name of the folder in the folder of sensor data.
    """

    title: str
    folder: str


SIMULATED = {
    'sim': SimulatedSet('streets, {lidar}'),
    'sim_45': SimulatedSet('streets turned by 45 degrees, {lidar}', angle=math.radians(45)),
    'low': SimulatedSet('streets, {lidar} at 0.4 m', mounting=Mounting(0.4)),
    'tilted': SimulatedSet(
        'streets, {lidar} at 1.73 m, nose 5 degrees down',
        mounting=Mounting(1.73, math.radians(5)),
    ),
    'livox': SimulatedSet(
        'streets up to 25 m, {lidar} at 0.5 m',
        lidar='mid360',
        mounting=Mounting(0.5),
        reach=25.0,
    ),
    'hdl64': SimulatedSet('streets, {lidar}', lidar='hdl64'),
}
RECORDED = {
    'kitti': RecordedSet('KITTI, ahead within the image', 'kitti'),
    'nuscenes': RecordedSet('nuScenes', 'nuscenes_mini_sample'),
    'argoverse2': RecordedSet('Argoverse 2, in the frame of the vehicle', 'av2'),
}
NAMES = (*SIMULATED, *RECORDED, REAL)


def title_of(name: str, lidar: str) -> str:
    """Returns the description of a set for tables.

    Args:
        name: name of the set.
        lidar: sensor of simulated sets without one of their own.
    """
    if name in SIMULATED:
        return f'simulated {SIMULATED[name].title.format(lidar=SIMULATED[name].lidar or lidar)}'
    return RECORDED[name].title if name in RECORDED else f'{", ".join(RECORDED)}, pooled'


class EvaluationFrames(NamedTuple):
    """Frames of a set.

    Attributes:
        frames: the frames, which are made or read one after another.
        length: number of frames.
        ahead: true where only the area ahead of the sensor is labelled.
        remark: a line about labels that are left out; '' for none.
    """

    frames: Iterable[EvalFrame]
    length: int
    ahead: bool = False
    remark: str = ''


def parse_names(text: str) -> list[str]:
    """Returns the names in a comma-separated list, 'all' for all of them.

    Raises:
        TinyBevError: a name is unknown.
    """
    names = [name.strip() for name in text.split(',')]
    if names == ['all']:
        return list(NAMES)
    for name in names:
        if name not in NAMES:
            raise TinyBevError(f'sets has {name!r}; expected all, or some of {", ".join(NAMES)}')
    return list(dict.fromkeys(names))


def open_set(name: str, streets: int, lidar: str, data: Path | None) -> EvaluationFrames:
    """Opens a set; frames are simulated or read when they are iterated.

    Args:
        name: name of a simulated or recorded set.
        streets: number of streets of a simulated set.
        lidar: sensor of simulated sets without one of their own.
        data: folder of sensor data, with a folder for each recorded set; for kitti also a folder
            in KITTI's form; None for none.

    Raises:
        MissingDataError: the data are missing.
        TinyBevError: the data are broken.
    """
    if name in SIMULATED:
        chosen = SIMULATED[name]
        return EvaluationFrames(map(partial(chosen.frame, lidar=lidar), range(streets)), streets)
    if data is None:
        raise MissingDataError('data is not given; expected a folder in --data or $TINY_BEV_DATA')
    folder = data / RECORDED[name].folder
    if name == 'kitti':
        return _open_kitti(folder if folder.is_dir() else data)
    read = nuscenes_frames if name == 'nuscenes' else argoverse_frames
    frames = read(folder, _REACH)
    return EvaluationFrames(frames, len(frames))


def _open_kitti(path: Path) -> EvaluationFrames:
    if not any((path / where).is_dir() for where in ('label_2', 'training/label_2')):
        raise MissingDataError(f'{path} holds no label_2; expected a folder in the form of KITTI')
    folder = KittiFolder(path)
    frames = kitti_eval_frames(folder, _REACH)
    return EvaluationFrames(frames, len(folder), folder.is_ahead(), folder.remark)
