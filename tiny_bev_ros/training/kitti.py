# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Folders in the form of KITTI's object benchmark (Geiger et al., CVPR 2012).

``velodyne/ID.bin`` (or ``velodyne_reduced/ID.bin``), ``label_2/ID.txt`` and ``calib/ID.txt``,
in the folder or in ``training`` below it. A calibration without a camera states that the whole
sweep is labelled.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.git_lfs import refuse_lfs_pointer
from tiny_bev_ros.text_file import read_text
from tiny_bev_ros.training.labelled_frame import Frame, instance_ids, is_whole

# Index into the classes of this package, by the kind of an object in label files.
LABELS = {
    'Car': 0,
    'Van': 0,
    'Truck': 0,
    'Pedestrian': 1,
    'Person_sitting': 1,
    'Cyclist': 2,
}
# Kinds of the benchmark that belong to no class of this package.
_OTHERS = ('Tram', 'Misc', 'DontCare')
# Kinds of written labels, by their index, and KITTI's axes at the LiDAR, without P2.
_KINDS = {0: 'Car', 1: 'Pedestrian', 2: 'Cyclist', -1: 'Misc'}
_WITHOUT_CAMERA = 'R0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n'
# Width and height of the images of KITTI's camera 2, which differ by a few pixels.
IMAGE_SIZE = (1242, 375)


@dataclass(frozen=True)
class Calibration:
    """Calibration of the camera to the LiDAR.

    Attributes:
        to_camera: (3,4), from the LiDAR's frame to that of the rectified camera, in metres.
        projection: (3,4), from the frame of the rectified camera to pixels; None where there is
            no camera, and objects on all sides are labelled.
    """

    to_camera: np.ndarray
    projection: np.ndarray | None

    @property
    def has_camera(self) -> bool:
        """True where objects are labelled in the image of a camera alone."""
        return self.projection is not None

    def camera(self, points: np.ndarray) -> np.ndarray:
        """Transforms (N,3) points in the LiDAR's frame to (N,3) x right, y down, z ahead."""
        return points @ self.to_camera[:, :3].T + self.to_camera[:, 3]

    def lidar(self, positions: np.ndarray) -> np.ndarray:
        """Transforms (N,3) positions in the camera's frame to the LiDAR's: inverts `camera`."""
        return (positions - self.to_camera[:, 3]) @ np.linalg.inv(self.to_camera[:, :3]).T

    def pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projects (N,3) points in the LiDAR's frame to (N,2) pixels and (N,) depths in metres."""
        assert self.projection is not None
        camera = self.camera(points)
        image = camera @ self.projection[:, :3].T + self.projection[:, 3]
        depth = image[:, 2]
        return image[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth)[:, None], depth

    def in_image(self, points: np.ndarray) -> np.ndarray:
        """Returns (N,) bool: true for points, (N,3) in the LiDAR's frame, in the image."""
        pixels, depth = self.pixels(points)
        return (depth > 0) & ((pixels >= 0) & (pixels < IMAGE_SIZE)).all(axis=1)


@dataclass(frozen=True)
class KittiObject:
    """One line of a label file.

    Attributes:
        kind: name of the benchmark: Car, Van, DontCare and so on.
        truncated: fraction of the object that is outside of the image, 0 to 1.
        occluded: 0 to 3, from visible to unknown.
        image_box: (4,) left, top, right, bottom in pixels.
        box: (7,) x, y, z of the centre, length, width, height, yaw in the LiDAR's frame;
            meaningless for DontCare.
    """

    kind: str
    truncated: float
    occluded: int
    image_box: np.ndarray
    box: np.ndarray

    def difficulty(self) -> int:
        """Returns the difficulty of the benchmark: 0 easy, 1 moderate, 2 hard, 3 none of them."""
        height = self.image_box[3] - self.image_box[1]
        limits = ((40, 0, 0.15), (25, 1, 0.3), (25, 2, 0.5))
        for level, (pixels, occluded, truncated) in enumerate(limits):
            if height >= pixels and self.occluded <= occluded and self.truncated <= truncated:
                return level
        return 3


def read_sweep(path: Path) -> np.ndarray:
    """Reads a file of velodyne/ as (N,4) float32 x, y, z, intensity.

    Raises:
        TinyBevError: the file is a Git LFS pointer, or holds no such cloud.
    """
    refuse_lfs_pointer(path)
    values = np.fromfile(path, np.float32)
    if values.size % 4 or not np.isfinite(values).all():
        raise TinyBevError(f'{path} is no cloud; expected float32 x, y, z, intensity')
    return values.reshape(-1, 4)


class KittiFolder:
    """Frames of a folder.

    Args:
        path: path of the folder.

    Attributes:
        names: names of the frames, sorted.
        remark: a line about labels of kinds that the benchmark does not have; '' for none.

    Raises:
        TinyBevError: no frame has a cloud, labels and a calibration, or no label is of a class
            of this package.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).expanduser()
        if (self._path / 'training').is_dir():
            self._path /= 'training'
        labelled = {file.stem for file in (self._path / 'label_2').glob('*.txt')}
        calibrated = {file.stem for file in (self._path / 'calib').glob('*.txt')}
        self.names = sorted(name for name in labelled & calibrated if self._cloud(name))
        if not self.names:
            raise TinyBevError(
                f'{path} holds no frame; expected velodyne/ID.bin, label_2/ID.txt, calib/ID.txt'
            )
        kinds = Counter(line.split()[0] for name in self.names for line in self._labels(name))
        if not kinds.keys() & LABELS.keys():
            raise TinyBevError(
                f'labels in {self._path / "label_2"} name {_counted(kinds) or "no object"}; '
                f'expected some of {", ".join(LABELS)}'
            )
        known = {*LABELS, *_OTHERS}
        unknown = Counter({kind: kinds[kind] for kind in kinds if kind not in known})
        self.remark = (
            f'labels in {self._path / "label_2"} also name {_counted(unknown)}; these are no '
            f'kinds of KITTI and are left out'
            if unknown
            else ''
        )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.names)

    def points(self, name: str) -> np.ndarray:
        """Reads the cloud of one frame, (N,4) float32 x, y, z, intensity."""
        path = self._cloud(name)
        assert path is not None
        return read_sweep(path)

    def calibration(self, name: str) -> Calibration:
        """Reads the calibration of one frame."""
        path = self._path / 'calib' / f'{name}.txt'
        lines = dict(line.split(':', 1) for line in read_text(path).splitlines() if ':' in line)
        try:
            rectification = _matrix(lines['R0_rect'], 3)
            to_camera = _matrix(lines['Tr_velo_to_cam'], 3)
            projection = _matrix(lines['P2'], 3) if 'P2' in lines else None
        except (KeyError, ValueError) as error:
            raise TinyBevError(
                f'{path} lacks {error}; expected P2 (or none, for labels on all sides), R0_rect '
                'and Tr_velo_to_cam'
            ) from None
        return Calibration(rectification @ to_camera, projection)

    def objects(self, name: str) -> list[KittiObject]:
        """Reads the labels of one frame."""
        path = self._path / 'label_2' / f'{name}.txt'
        calibration = self.calibration(name)
        try:
            return [_object(line.split(), calibration) for line in self._labels(name)]
        except (IndexError, ValueError):
            raise TinyBevError(f'{path} is no label file; expected 15 values a line') from None

    def frame(self, name: str) -> Frame:
        """Reads one frame: the points in the image, as objects elsewhere are not labelled.

        Without a camera, all points.
        """
        objects = [label for label in self.objects(name) if label.kind != 'DontCare']
        points = self.points(name)
        calibration = self.calibration(name)
        if calibration.has_camera:
            points = points[calibration.in_image(points[:, :3])]
        boxes = np.array([label.box for label in objects], np.float32).reshape(-1, 7)
        labels = np.array([LABELS.get(label.kind, -1) for label in objects], np.int64)
        ids = instance_ids(boxes, points)
        whole = not calibration.has_camera and is_whole(points)
        return Frame(points, ids, boxes, labels, whole=whole)

    def is_ahead(self) -> bool:
        """Returns True if all frames are labelled in the image of a camera alone."""
        return all(self.calibration(name).has_camera for name in self.names)

    def _labels(self, name: str) -> list[str]:
        """Returns the lines of a label file that are not blank."""
        lines = read_text(self._path / 'label_2' / f'{name}.txt').splitlines()
        return [line for line in lines if line.strip()]

    def _cloud(self, name: str) -> Path | None:
        for folder in ('velodyne', 'velodyne_reduced'):
            path = self._path / folder / f'{name}.bin'
            if path.is_file():
                return path
        return None


def write_kitti_frame(folder: Path, name: str, frame: Frame) -> None:
    """Writes a frame without a camera, with the objects that have a point.

    Args:
        folder: folder in KITTI's form.
        name: name of the frame.
        frame: frame that is labelled on all sides.
    """
    parts = {'velodyne': '.bin', 'label_2': '.txt', 'calib': '.txt'}
    paths = {part: folder / part / f'{name}{suffix}' for part, suffix in parts.items()}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for box, label, count in zip(frame.boxes, frame.labels, frame.counts, strict=True):
        x, y, z, length, width, height, yaw = box
        foot = (-y, height / 2 - z, x)
        numbers = [0, 0, 0, 0, 0, 0, 0, height, width, length, *foot, -yaw - np.pi / 2]
        if count:
            lines.append(' '.join([_KINDS[int(label)], *(f'{number:.3f}' for number in numbers)]))
    paths['label_2'].write_text('\n'.join(lines) + '\n')
    paths['calib'].write_text(_WITHOUT_CAMERA)
    frame.points.astype(np.float32).tofile(paths['velodyne'])


def _counted(kinds: Counter[str]) -> str:
    return ', '.join(f'{kind} ({count})' for kind, count in sorted(kinds.items()))


def _matrix(text: str, rows: int) -> np.ndarray:
    return np.array([float(value) for value in text.split()]).reshape(rows, -1)


def _object(values: list[str], calibration: Calibration) -> KittiObject:
    numbers = [float(value) for value in values[1:15]]
    height, width, length = numbers[7:10]
    foot = np.array(numbers[10:13])
    centre = calibration.lidar(foot - (0, height / 2, 0))
    # The heading is measured about the camera's y, which points down, from its x.
    rotation = calibration.to_camera[:, :3]
    ahead = np.array([np.cos(numbers[13]), 0, -np.sin(numbers[13])]) @ rotation
    yaw = np.arctan2(ahead[1], ahead[0])
    return KittiObject(
        values[0],
        numbers[0],
        int(numbers[1]),
        np.array(numbers[3:7]),
        np.array([*centre, length, width, height, yaw]),
    )
