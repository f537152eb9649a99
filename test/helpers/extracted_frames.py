# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Frames as `extract` has them: of simulated clouds, or made up without a network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.detector_result import DetectorResult
from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions, make_writers
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 100_000_000
# Differs from the stamp, as the cloud was recorded after it was measured.
DELAY_NS = 3_000_000
# Not used, as `MadeUpResult` is given what would be computed of it.
_NO_GROUND: Any = None


@dataclass(frozen=True)
class MadeUpResult(DetectorResult):
    """Result whose ground is given."""

    observed: Any = None
    road_height: float | None = None


def frame_of(result: DetectorResult, index: int, frame_id: str = 'lidar') -> ExtractedFrame:
    """Returns the frame with a result, at 10 Hz."""
    stamp_ns = START_NS + index * PERIOD_NS
    return ExtractedFrame(
        'street', index, stamp_ns + DELAY_NS, divmod(stamp_ns, 10**9), frame_id, result
    )


def with_ground(
    result: DetectorResult, road_height: float | None = -1.7, **others: Any
) -> MadeUpResult:
    """Returns a result with every third cell unobserved."""
    observed = np.arange(np.prod(result.grid.shape)).reshape(result.grid.shape) % 3 > 0
    parts = {
        'heads': result.heads,
        'features': result.features,
        'grid': result.grid,
        'seconds': result.seconds,
        'ground': result.ground,
        'observed': observed,
        'road_height': road_height,
    }
    return MadeUpResult(**{**parts, **others})


def street_frames() -> list[ExtractedFrame]:
    """Returns frames of two simulated clouds and, between them, of a cloud without points."""
    detector = Detector('street', (0.0, 25.6), (-12.8, 12.8), device='cpu')
    plan, scene = street_plan(0), street(0)
    clouds = [
        scan(scene, LIDARS['hdl64'], ego_pose(plan, distance), 0).points for distance in (0.0, 1.0)
    ]
    clouds.insert(1, clouds[0][:0])
    return [
        frame_of(with_ground(detector(cloud)), 2 * number) for number, cloud in enumerate(clouds)
    ]


def made_up_frames(count: int) -> list[ExtractedFrame]:
    """Returns frames with random features (8,16,24), boxes and areas, equal in every process."""
    grid = BevGrid((0.0, 9.6), (-3.2, 3.2), (-3.0, 1.0), 0.4)
    frames = []
    for index in range(count):
        random = torch.Generator().manual_seed(index)
        boxes = torch.rand(index % 3, 7, generator=random)
        detections = Detections(
            boxes, torch.rand(len(boxes), generator=random), torch.zeros(len(boxes)).long()
        )
        drivable = torch.rand(grid.shape, generator=random)
        features = torch.randn(1, 8, *grid.shape, generator=random)
        heads = HeadOutputs(detection=detections, drivable=drivable)
        result = DetectorResult(heads, features, grid, {}, _NO_GROUND)
        frames.append(frame_of(with_ground(result), index))
    return frames


def write_run(folder: Path, options: OutputOptions, frames: list[ExtractedFrame]) -> list[str]:
    """Writes a run of the bag `street`; returns the paths of its files."""
    writers = make_writers(options, folder, 'street', 1)
    for frame in frames:
        for writer in writers:
            writer.add(frame)
    for writer in writers:
        writer.close()
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def digests(folder: Path, formats: list[str]) -> str:
    """Writes made-up frames in some formats; returns a line with path and digest of each file."""
    what = ('detections', 'drivable', 'features')
    lines = []
    for name in formats:
        paths = write_run(folder / name, OutputOptions(what, name), made_up_frames(20))
        for path in paths:
            digest = hashlib.sha256((folder / name / path).read_bytes()).hexdigest()
            lines.append(f'{path} {digest}')
    return '\n'.join(lines)
