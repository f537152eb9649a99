# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parity of the other stages on CUDA with the CPU: pillars, heads, camera encoder, fusion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.engine.benchmark_inputs import CPU, pillar_feature_net
from benchmarks.engine.detection_costs import MIN_SCORES
from benchmarks.gpu.backbone_parity import TOLERANCES
from benchmarks.gpu.check_inputs import PRECISIONS, relative_error, shipped_runner
from benchmarks.gpu.check_section import CheckSettings, SectionResult, add_failure
from benchmarks.tables import as_table
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.model_runner import FrameOutputs
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import CameraEncoder, FuTrFusion, make_camera, seeded
from tiny_bev_ros.models.fusion.futr import MODES
from tiny_bev_ros.models.heads.detection import Detections

_AHEAD = ((0, -1, 0, 0), (0, 0, -1, 0), (1, 0, 0, 0), (0, 0, 0, 1))
_SIZE = (320, 96)
_K = (160.0, 0.0, 159.5, 0.0, 160.0, 47.5, 0.0, 0.0, 1.0)
# Objects whose score is this far above the threshold must be found on both devices.
_SCORE_MARGIN = 0.05
_POSITION_M = {'float32': 0.05, 'bfloat16': 0.5, 'float16': 0.5}
_BEV_CHANNELS, _CAMERA_CHANNELS = 64, 32
_STRIDE = 4


@torch.inference_mode()
def check_stages(settings: CheckSettings) -> SectionResult:
    """Compares each stage on the device with the same runner in float32 on the CPU."""
    result = SectionResult()
    table: dict[str, list[str]] = defaultdict(list)
    frame = shipped_runner(settings, CPU)(settings.clouds[0], MIN_SCORES)
    for precision in PRECISIONS:
        checks: dict[str, Callable[[], dict[str, float]]] = {
            'camera encoder': partial(_camera, settings, precision),
            **{f'fusion, {mode}': partial(_fusion, mode, settings, precision) for mode in MODES},
            'shipped weights': partial(_shipped, frame, settings, precision),
        }
        if precision == 'float32':  # as pillars always are
            checks['pillars'] = partial(_pillars, None, settings)
            checks['pillars, at most 32 points'] = partial(_pillars, 32, settings)
        for name, check in checks.items():
            try:
                found = check()
            except Exception as failure:
                add_failure(result, f'{name}, {precision}', failure, settings.device)
                continue
            for subject, error in found.items():
                table[f'{name}{subject}'].append(f'{precision} {error:.1e}')
                if not error <= TOLERANCES[precision]:
                    result.failures.append(
                        f'{name}{subject}, {precision}: error is {error:.1e}; '
                        f'expected at most {TOLERANCES[precision]:g}'
                    )
    rows = [[name, ', '.join(cells)] for name, cells in table.items()]
    result.text = (
        'Largest error over the largest magnitude, against float32 on the CPU; objects: fraction '
        'of those on the CPU that have no partner on the device.\n\n'
        + as_table(['stage', 'errors'], rows)
    )
    return result


def missing_fraction(wanted: Detections, found: Detections, metres: float) -> float:
    """Returns the fraction of clear objects that have no partner of their class.

    Args:
        wanted: objects of the reference, of any score above the threshold.
        found: objects that are compared with them.
        metres: largest distance of the centres of partners.
    """
    clear = wanted.scores >= min(MIN_SCORES) + _SCORE_MARGIN
    missing = 0
    for box, label in zip(wanted.boxes[clear], wanted.labels[clear], strict=True):
        partners = found.boxes[found.labels == label]
        near = (partners[:, :3] - box[:3]).norm(dim=1) <= metres
        missing += not bool(near.any())
    return missing / max(int(clear.sum()), 1)


def _pillars(max_points: int | None, settings: CheckSettings) -> dict[str, float]:
    net = partial(pillar_feature_net, max_points)
    wanted, cells = PillarRunner(net(), settings.grid, CPU).pillars(settings.clouds[0])
    runner = PillarRunner(net(), settings.grid, settings.device)
    found, found_cells = runner.pillars(settings.clouds[0])
    if not torch.equal(found_cells.cpu(), cells):
        raise ValueError(f'{len(found_cells)} pillars are in other cells than on the CPU')
    return {'': relative_error(found, wanted)}


def _shipped(wanted: FrameOutputs, settings: CheckSettings, precision: str) -> dict[str, float]:
    """Runs a whole frame with the shipped weights."""
    found = shipped_runner(settings, settings.device, precision)(settings.clouds[0], MIN_SCORES)
    area, objects = found.heads.drivable, found.heads.detections
    wanted_area, wanted_objects = wanted.heads.drivable, wanted.heads.detections
    assert area is not None and wanted_area is not None
    assert objects is not None and wanted_objects is not None
    return {
        ', BEV features': relative_error(found.features, wanted.features),
        ', drivable area': relative_error(area, wanted_area),
        ', objects': missing_fraction(wanted_objects, objects, _POSITION_M[precision]),
    }


def _camera(settings: CheckSettings, precision: str) -> dict[str, float]:
    with seeded(0):
        encoder = CameraEncoder(out_channels=_CAMERA_CHANNELS).eval()
    camera = make_camera(_K, _AHEAD, _SIZE)
    image = np.random.default_rng(0).integers(0, 256, (*_SIZE[::-1], 3), dtype=np.uint8)
    sizes: Any = {'resize_width': _SIZE[0] // 2, 'crop_height': _SIZE[1] // 4}
    wanted, _ = CameraRunner(encoder, CPU, **sizes)(image, camera)
    found, _ = CameraRunner(encoder, settings.device, precision, **sizes)(image, camera)
    return {'': relative_error(found, wanted)}


def _fusion(mode: str, settings: CheckSettings, precision: str) -> dict[str, float]:
    with seeded(0):
        fusion = FuTrFusion(_BEV_CHANNELS, _CAMERA_CHANNELS, mode).eval()
        grid = settings.grid.strided(_STRIDE)
        bev = torch.rand(1, _BEV_CHANNELS, *grid.shape)
        camera = make_camera(_K, _AHEAD, _SIZE).strided(16)
        view: Tensor = torch.rand(1, _CAMERA_CHANNELS, *camera.size[::-1])
    wanted = FusionRunner(fusion, CPU)(bev, grid, [(view, camera)])
    runner = FusionRunner(fusion, settings.device, precision)
    device = settings.device
    found = runner(bev.to(device), grid, [(view.to(device), camera)])
    return {'': relative_error(found, wanted)}
