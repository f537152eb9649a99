# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ModelRunner: a call is its stages one after the other, with and without cameras."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from fusions import lively_fusion

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference import folded_module
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder, build_runner
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.worker_pool import WorkerPool
from tiny_bev_ros.models import (
    CameraEncoder,
    FeatureInfo,
    PillarFeatureNet,
    build_backbone,
    make_camera,
    seeded,
)
from tiny_bev_ros.models.heads.head_registry import build_heads

CPU = torch.device('cpu')
CONFIG = ExecutionConfig(CPU)
GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
SCORES = (0.0, 0.0, 0.0)
AHEAD = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
CAMERA = make_camera([20, 0, 19.5, 0, 20, 11.5, 0, 0, 1], AHEAD, (40, 24))


class NotAChain(torch.nn.MaxPool2d):
    """Layer of a kind that no chain has, with the attributes of a backbone."""

    in_channels = 4
    feature_info = (FeatureInfo('pool', 4, stride=2),)

    def __init__(self) -> None:
        super().__init__(2)


def make_models() -> LoadedModels:
    with seeded(0):
        return LoadedModels(
            pfn=PillarFeatureNet(out_channels=8).eval(),
            backbone=build_backbone('tiny', in_channels=8, mid_channels=8, out_channels=16).eval(),
            heads=build_heads(('detection', 'drivable'), 16).eval(),
            camera=CameraEncoder(out_channels=8, stride=8).eval(),
            fusion=lively_fusion(16, 8, 'projected'),
            grid=GRID,
        )


@pytest.fixture(scope='module')
def models() -> LoadedModels:
    return make_models()


@pytest.fixture(scope='module')
def runner(models: LoadedModels) -> ModelRunner:
    return build_runner(models, CONFIG, shape=GRID.shape)


@pytest.fixture(scope='module')
def points() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform([0, -4, -3, 0], [9, 4, 1, 1], (300, 4)).astype(np.float32)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)


def equal(found: Any, wanted: Any) -> None:
    assert torch.equal(found.drivable, wanted.drivable)
    for each, other in zip(found.detections, wanted.detections, strict=True):
        assert torch.equal(each, other)


def test_a_call_is_its_stages_one_after_the_other(runner: ModelRunner, points: np.ndarray):
    outputs = runner(points, SCORES)
    pillars = runner.encode_points(points)
    features = runner.extract_features(pillars.features, pillars.cells, GRID.shape)
    assert torch.equal(outputs.pillars.features, pillars.features)
    assert torch.equal(outputs.pillars.cells, pillars.cells)
    assert 0 < pillars.inside < len(points)
    assert torch.equal(outputs.features, features)
    assert runner.feature_grid == GRID.strided(2)
    equal(outputs.heads, runner.detect(features, runner.feature_grid, SCORES))
    assert list(outputs.seconds) == ['pillars', 'backbone', 'heads']
    assert min(outputs.seconds.values()) > 0


def test_images_are_fused_before_the_heads(
    runner: ModelRunner, points: np.ndarray, image: np.ndarray
):
    alone = runner(points, SCORES).features.clone()
    outputs = runner(points, SCORES, [(image, CAMERA), None])
    view = runner.encode_image(image, CAMERA)
    fused = runner.fuse(alone, runner.feature_grid, [view, None])
    assert torch.equal(outputs.features, fused)
    assert not torch.equal(fused, alone)
    equal(outputs.heads, runner.detect(fused, runner.feature_grid, SCORES))
    assert list(outputs.seconds) == ['pillars', 'backbone', 'encoder', 'fusion', 'heads']


def test_missing_images_leave_the_features_as_they_are(runner: ModelRunner, points: np.ndarray):
    alone = runner(points, SCORES).features.clone()
    assert torch.equal(runner(points, SCORES, [None]).features, alone)


def test_a_pseudo_image_gives_the_features_of_its_pillars(runner: ModelRunner, points: np.ndarray):
    pillars = runner.encode_points(points)
    wanted = runner.extract_features(pillars.features, pillars.cells, GRID.shape).clone()
    assert runner.pfn is not None
    found = runner.extract_features_dense(runner.pfn.scatter(pillars[:2]))
    assert torch.equal(found, wanted)


def test_a_runner_has_the_networks_that_were_loaded(models: LoadedModels):
    backbone = build_runner(LoadedModels(backbone=models.backbone), CONFIG)
    missing = {each.name for each in fields(backbone) if getattr(backbone, each.name) is None}
    assert missing == {'pfn', 'heads', 'camera', 'fusion', 'grid', 'refinement'}
    backbone.release()


def test_heads_compute_on_the_threads_of_the_config(
    models: LoadedModels, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip('numba')
    threads = []

    def pool(count: int) -> WorkerPool:
        threads.append(count)
        return WorkerPool(count)

    monkeypatch.setattr(folded_module, 'WorkerPool', pool)
    build_runner(models, replace(CONFIG, threads=3))
    assert threads == [3] * 2  # detection and drivable area


def test_networks_stay_as_they_are_and_runners_are_reused(models: LoadedModels):
    first = build_runner(models, CONFIG)
    again = build_runner(models, CONFIG, reuse=ModelRunner(pfn=first.pfn, heads=first.heads))
    assert again.pfn is first.pfn
    assert again.heads is first.heads
    assert again.backbone is not first.backbone
    assert all(
        torch.equal(value, other)
        for part in ('pfn', 'backbone', 'heads', 'camera', 'fusion')
        for value, other in zip(
            getattr(models, part).state_dict().values(),
            getattr(make_models(), part).state_dict().values(),
            strict=True,
        )
    )


def test_a_method_is_work_for_a_memory_fallback(models: LoadedModels, points: np.ndarray):
    fallback = MemoryFallback(
        ModelBuilder(models, lambda: GRID.shape),
        CONFIG,
        lambda line: None,
        allow_lower_precision=False,
        allow_cpu=True,
    )
    wanted = build_runner(models, CONFIG).encode_points(points)
    found = fallback.run(ModelRunner.encode_points, points)
    assert torch.equal(found.features, wanted.features)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'precision': 'int8'}, "backbone.precision is 'int8'; expected one of"),
        ({'sparsity': 'on'}, "backbone.sparsity is 'on'; expected one of"),
        ({'resize_width': -1}, 'camera.resize_width is -1; expected 0 or more'),
    ],
)
def test_a_wrong_setting_is_named_with_its_network(
    models: LoadedModels, changes: dict[str, Any], message: str
):
    with pytest.raises(TinyBevError, match=message):
        build_runner(models, ExecutionConfig(CPU, **changes))


def test_settings_without_effect_are_logged(models: LoadedModels):
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def warning(self, message: str) -> None:
            self.lines.append(message)

        info = warning

    log = Log()
    build_runner(LoadedModels(backbone=NotAChain().eval()), CONFIG, logger=log)
    (line,) = log.lines
    assert line.startswith('backbone.sparsity has no effect, every cell is computed: ')
