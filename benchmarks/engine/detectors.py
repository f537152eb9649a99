# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Points to objects and drivable area with the shipped weights: engine and other runtimes.

The runtimes compute the exported network of backbone and heads. Its pseudo-image comes from the
pillar feature net of the engine, and its maps are decoded by the code of the heads, so that the
contenders differ in the networks alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.engine.benchmark_inputs import CPU
from benchmarks.engine.contenders import build
from benchmarks.engine.detection_costs import MAPS, MIN_SCORES
from benchmarks.engine.peers import export_int8, export_onnx
from benchmarks.timing import interleaved
from tiny_bev_ros.export.int8_quantization import calibration_images
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime, OpenVino
from tiny_bev_ros.inference.fast_nms import fast_nms
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.head_registry import DecodeOptions, Head, map_tensors
from tiny_bev_ros.resources import WEIGHTS, weights_file

Detect = Callable[[np.ndarray], HeadOutputs]
# Objects below this score may be missing in another precision.
_SURE = 0.5
_NEAR_M = 0.5
_SIDE = 64


class DetectionNetwork(nn.Module):
    """Backbone and heads as one network, from a pseudo-image to the maps of all heads.

    Args:
        models: networks in eval mode, with backbone and heads.
    """

    def __init__(self, models: LoadedModels) -> None:
        super().__init__()
        assert models.backbone is not None and models.heads is not None
        self.backbone, self.heads = models.backbone, models.heads

    def forward(self, pseudo_image: Tensor) -> tuple[Tensor, ...]:
        """Maps (1,C,H,W) to the maps (1,c,h,w) of the heads, in their order."""
        return tuple(_tensors(self.maps(pseudo_image)))

    def maps(self, pseudo_image: Tensor) -> dict[str, Any]:
        """Maps (1,C,H,W) to the maps of each head in its own type."""
        features = self.backbone(pseudo_image)
        return {name: head(features) for name, head in self.heads.items()}


class EngineDetector:
    """Detector of this package.

    Args:
        models: all networks, with their grid.
        precision: compute dtype: float32 or bfloat16.
        threads: number of threads.

    Attributes:
        float32_reason: reason for which it computes in float32 instead; '' if it does not.
    """

    def __init__(self, models: LoadedModels, precision: str, threads: int) -> None:
        assert models.grid is not None
        config = ExecutionConfig(CPU, precision, threads=threads)
        self._runner = build_runner(models, config, shape=models.grid.shape)
        assert isinstance(self._runner.backbone, BackboneRunner)
        self.float32_reason = self._runner.backbone.float32_reason

    def __call__(self, points: np.ndarray) -> HeadOutputs:
        """Maps points (N,4) float32 to objects and drivable area."""
        return self._runner(points, MIN_SCORES).heads


class PeerDetector:
    """Detector whose backbone and heads are computed by another runtime.

    Args:
        models: all networks, with their grid.
        run: computes the maps of DetectionNetwork from a pseudo-image.
    """

    def __init__(self, models: LoadedModels, run: Callable[[Tensor], Iterable[Tensor]]) -> None:
        assert models.pfn is not None and models.grid is not None and models.heads is not None
        self._pillars = PillarRunner(copy.deepcopy(models.pfn), models.grid.local, CPU)
        self._heads = {name: cast(Head, head) for name, head in models.heads.items()}
        # Maps of a small pseudo-image: their types, and the stride.
        self._template = DetectionNetwork(models).maps(_zeros(models, (_SIDE, _SIDE)))
        stride = _SIDE // next(_tensors(self._template)).shape[2]
        self._feature_grid = models.grid.strided(stride)
        self._run = run

    def __call__(self, points: np.ndarray) -> HeadOutputs:
        """Maps points (N,4) float32 to objects and drivable area."""
        outputs = iter(self._run(self._pillars.scatter(self._pillars.pillars(points))))
        maps = map_tensors(lambda _: next(outputs), self._template)
        options = DecodeOptions(MIN_SCORES, fast_nms)
        return HeadOutputs(
            (name, head.finish(head.select(maps[name])[0], self._feature_grid, options))
            for name, head in self._heads.items()
        )


def load_models(map_name: str) -> LoadedModels:
    """Loads the shipped weights for a map, a key of MAPS."""
    # The peers have no second stage.
    return LoadedModels.from_file(weights_file(WEIGHTS[0]), *MAPS[map_name], refine_boxes=False)


def detectors(map_name: str, threads: int, folder: Path) -> dict[str, Callable[[], Detect]]:
    """Returns a function per detector that builds it, by name; plain PyTorch first.

    Args:
        map_name: name of the map, a key of MAPS.
        threads: number of threads of each detector.
        folder: folder of the exported networks; a missing file is written when it is needed.
    """
    models = load_models(map_name)
    assert models.grid is not None
    shape = models.grid.shape
    network, example = DetectionNetwork(models).eval(), _zeros(models, shape)

    def path() -> Path:
        return export_onnx(network, example, folder / f'{map_name}.onnx')

    def quantized() -> Path:
        calibration = partial(calibration_images, models, shape)
        return export_int8(path(), calibration, folder / f'{map_name}_int8.onnx')

    return {
        'eager': lambda: PeerDetector(models, network),
        'ONNX Runtime float32': lambda: PeerDetector(models, OnnxRuntime(path(), threads).outputs),
        'ONNX Runtime int8': lambda: PeerDetector(
            models, OnnxRuntime(quantized(), threads).outputs
        ),
        'OpenVINO float32': lambda: PeerDetector(models, OpenVino(path(), threads).outputs),
        'OpenVINO bfloat16': lambda: PeerDetector(
            models, OpenVino(path(), threads, 'bfloat16').outputs
        ),
        'OpenVINO int8': lambda: PeerDetector(models, OpenVino(quantized(), threads).outputs),
        'engine float32': lambda: EngineDetector(models, 'float32', threads),
        'engine bfloat16': lambda: EngineDetector(models, 'bfloat16', threads),
    }


def measure_detectors(
    points: dict[str, np.ndarray], threads: int, rounds: int, folder: Path
) -> list[dict[str, Any]]:
    """Times each detector on each cloud and map.

    Args:
        points: clouds (N,4) float32 by label; the first is that by which outputs are checked.
        threads: number of threads of each detector.
        rounds: timed runs of each detector on each cloud.
        folder: folder of the exported networks.

    Returns:
        One result per map: 'map', its name; 'shape' (H,W) of its grid; 'rows', one per cloud and
        detector with 'input', 'contender' and 'ms' (a list); and 'left_out', the reason by name
        of a detector.
    """
    results = []
    for name in MAPS:
        grid = load_models(name).grid
        assert grid is not None
        makers = detectors(name, threads, folder)
        found, left_out = build(makers, next(iter(points.values())), detection_error)
        rows = []
        for label, cloud in tqdm(points.items(), desc=f'clouds, {name}', disable=None):
            times = interleaved({each: partial(run, cloud) for each, run in found.items()}, rounds)
            rows += [{'input': label, 'contender': each, 'ms': ms} for each, ms in times.items()]
        results.append({'map': name, 'shape': grid.shape, 'rows': rows, 'left_out': left_out})
    return results


def detection_error(outputs: HeadOutputs, expected: HeadOutputs) -> float:
    """Computes the greatest of three errors.

    They are the relative L2 norm of the road's probability, and, for the sure objects of
    either side, the root mean square of the differences of scores; the difference is 1 for an
    object without one of its class within half a metre.
    """
    found, wanted = outputs.detections, expected.detections
    assert found is not None and wanted is not None
    assert outputs.drivable is not None and expected.drivable is not None
    road = float((outputs.drivable - expected.drivable).norm() / expected.drivable.norm())
    return max(road, _score_error(found, wanted), _score_error(wanted, found))


def _score_error(found: Detections, wanted: Detections) -> float:
    squares = []
    for box, score, label in zip(*wanted, strict=True):
        near = (found.boxes[:, :2] - box[:2]).norm(dim=1) < _NEAR_M
        scores = found.scores[near & (found.labels == label)]
        if score >= _SURE:
            difference = float((scores - score).abs().min()) if len(scores) else 1.0
            squares.append(difference**2)
    return math.sqrt(sum(squares) / len(squares)) if squares else 0.0


def _tensors(maps: dict[str, Any]) -> Iterator[Tensor]:
    for each in maps.values():
        yield from (each,) if isinstance(each, Tensor) else each


def _zeros(models: LoadedModels, shape: tuple[int, int]) -> Tensor:
    assert models.pfn is not None
    return torch.zeros(1, models.pfn.out_channels, *shape)
