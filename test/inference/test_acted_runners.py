# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runners on acted CUDA devices, by every name of one: results of the CPU, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from acted_cuda import on_acted
from acted_machine import Machine
from fusions import lively_fusion
from optional_packages import require_packages
from second_stages import save_with_second_stage

import tiny_bev_ros
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models import (
    CameraEncoder,
    PillarFeatureNet,
    build_backbone,
    list_backbones,
    make_camera,
    resolve_device,
    scatter,
    seeded,
)
from tiny_bev_ros.models.heads.head_registry import build_heads

CPU = torch.device('cpu')
GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
NAMES = ['auto', 'cuda', 'cuda:0', 'cuda:1']
AHEAD = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]


@pytest.fixture(params=NAMES)
def device(acted: Machine, request: pytest.FixtureRequest) -> torch.device:
    return resolve_device(request.param)


@pytest.fixture(autouse=True)
def _float32(acted: Machine) -> Iterator[None]:
    """Checks that no runner rounds to TF32."""
    yield
    assert True not in acted.flags['conv'] | acted.flags['matmul']


def cloud(count: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform([0, -4, -3, 0], [8, 4, 1, 1], (count, 4)).astype(np.float32)


def pillars(count: int = 20, channels: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randperm(256, generator=generator)[:count].sort().values
    cells = torch.stack([flat // 16, flat % 16], 1)
    return torch.rand(count, channels, generator=generator), cells


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Checks that values are on the device and those of the CPU, relative to the largest."""
    assert on_acted(found)
    assert (found.cpu() - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize('max_points', [None, 4])
def test_pillars(device: torch.device, max_points: int | None):
    with seeded(0):
        pfn = PillarFeatureNet(out_channels=8, max_points=max_points).eval()
    wanted, cells = PillarRunner(pfn, GRID, CPU).pillars(cloud())
    runner = PillarRunner(pfn, GRID, device)
    runner.warm_up()
    found = runner.pillars(cloud())
    close(found[0], wanted)
    assert torch.equal(found[1].cpu(), cells)
    close(runner.scatter(found), scatter(wanted, cells, GRID.shape))
    empty, _ = runner.pillars(np.zeros((0, 4), np.float32))
    assert empty.shape == (0, 8)


@pytest.mark.parametrize('name', list_backbones())
@pytest.mark.parametrize(
    ('precision', 'sparsity', 'device_name'),
    [('float32', 'always', 'cuda:1'), ('float32', 'never', 'cuda'), ('bfloat16', 'auto', 'auto')],
)
def test_backbones(acted: Machine, name: str, sparsity: str, precision: str, device_name: str):
    device = resolve_device(device_name)
    with seeded(0):
        network = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16).eval()
    if sparsity == 'always' and BackboneRunner(network, CPU).dense_reason:
        pytest.skip('has no sparse path')
    given = pillars()
    canvas = scatter(*given, GRID.shape)
    with torch.inference_mode():
        wanted = network(canvas)
    runner = BackboneRunner(network, device, precision=precision, sparsity=sparsity)
    runner.warm_up(GRID.shape)
    assert runner.no_graph_reason == ''
    tolerance = 1e-4 if precision == 'float32' else 0.05
    for _ in range(3):  # buffers are kept, and two outputs alternate
        close(runner.from_pillars(*given, GRID.shape), wanted, tolerance)
        close(runner(canvas.to(device)), wanted, tolerance)
    if sparsity == 'never':
        assert acted.launches['graph'] >= 6


def test_a_dense_path_without_a_graph(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    def capture(*_):
        raise RuntimeError('operation not permitted when stream is capturing')

    monkeypatch.setattr('tiny_bev_ros.inference.cuda_graph.cuda_graph', capture)
    with seeded(0):
        network = build_backbone('tiny', in_channels=8, mid_channels=8, out_channels=16).eval()
    canvas = scatter(*pillars(), GRID.shape)
    with torch.inference_mode():
        wanted = network(canvas)
    runner = BackboneRunner(network, resolve_device('cuda'), sparsity='never')
    with pytest.warns(UserWarning, match='no CUDA graph: operation not permitted'):
        runner.warm_up(GRID.shape)
    close(runner(canvas), wanted)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_heads(device: torch.device, precision: str):
    with seeded(0):
        heads = dict(build_heads(('detection', 'drivable'), 16).eval().items())
    features = torch.rand(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = (0.0, 0.0, 0.0)
    grid = GRID.strided(2)
    wanted = HeadRunner(heads, CPU)(features, grid, scores)
    seen = HeadRunner(heads, device, precision)(features.to(device), grid, scores)
    assert seen.detections is not None
    assert wanted.detections is not None
    assert seen.drivable is not None
    assert wanted.drivable is not None
    assert not on_acted(seen.drivable)
    assert (seen.drivable - wanted.drivable).abs().max() < 0.01
    if precision == 'float32':
        for found, right in zip(seen.detections, wanted.detections, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


def test_a_camera(device: torch.device):
    with seeded(0):
        encoder = CameraEncoder(out_channels=8, stride=8).eval()
    camera = make_camera([20, 0, 19.5, 0, 20, 11.5, 0, 0, 1], AHEAD, (40, 24))
    rgb = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    wanted, _ = CameraRunner(encoder, CPU, resize_width=32, crop_height=16)(rgb, camera)
    runner = CameraRunner(encoder, device, resize_width=32, crop_height=16)
    runner.warm_up((40, 24))
    found, seen = runner(rgb, camera)
    close(found, wanted)
    assert seen.size == (4, 2)


@pytest.mark.parametrize('mode', ['projected', 'global'])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_fusion(device: torch.device, mode: str, precision: str):
    fusion = lively_fusion(16, 8, mode)
    grid = GRID.strided(2)
    generator = torch.Generator().manual_seed(0)
    bev = torch.rand(1, 16, *grid.shape, generator=generator)
    camera = make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], AHEAD, (10, 6))
    view = torch.rand(1, 8, 6, 10, generator=generator)
    wanted = FusionRunner(fusion, CPU)(bev, grid, [(view, camera)])
    runner = FusionRunner(fusion, device, precision)
    tolerance = 1e-4 if precision == 'float32' else 0.05
    for _ in range(2):
        close(runner(bev.to(device), grid, [(view.to(device), camera), None]), wanted, tolerance)
    close(runner(bev, grid, [None]), bev)


@pytest.fixture(params=['shipped', 'second stage'])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == 'shipped':
        return Path(tiny_bev_ros.__file__).parent / 'weights' / 'street.safetensors'
    return save_with_second_stage(tmp_path / 'weights.safetensors')


def test_a_detector(acted: Machine, weights: Path):
    ranges, scores = ((0.0, 8.0), (-4.0, 4.0)), (0.0, 0.0, 0.0)
    wanted = Detector(weights, *ranges, device=CPU)(cloud(), scores).heads
    detector = Detector(weights, *ranges, device=resolve_device('cuda'))
    acted.reset()
    before = acted.ticks
    result = detector(cloud(), scores)
    seen = result.heads
    assert seen.detections is not None
    assert wanted.detections is not None
    for found, right in zip(seen.detections, wanted.detections, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3)
    # A launch of the acted device takes a microsecond. The timestamps and the copy of the
    # features belong to no runner. The second stage runs on the CPU.
    seconds = result.seconds
    launched = acted.ticks - before - len(seconds) - 2
    assert sum(seconds.values()) * 1e6 == pytest.approx(launched)
    assert min(seconds[stage] for stage in ('pillars', 'backbone', 'heads')) > 0
    assert seconds.get('refinement', 0) == 0
    assert waits_in(acted, 'inference/device_timer.py') <= 1


def waits_in(acted: Machine, file: str) -> int:
    """Returns the number of waits in a file of the package."""
    return sum(count for (_, line), count in acted.wait_lines.items() if line.startswith(file))


@contextmanager
def strict(acted: Machine, waits: int, launches: int) -> Iterator[None]:
    """Context manager: limits waits, none of which PyTorch may report, and launches."""
    acted.reset()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert sum(acted.waits.values()) <= waits, acted.wait_lines
    assert sum(acted.launches.values()) <= launches, acted.launches


@pytest.mark.parametrize(('max_points', 'launches'), [(None, 64), (4, 88)])
def test_pillars_take_one_wait(acted: Machine, max_points: int | None, launches: int):
    pfn = PillarFeatureNet(out_channels=8, max_points=max_points).eval()
    runner = PillarRunner(pfn, GRID, resolve_device('cuda'))
    runner.warm_up()
    for points in (cloud(), cloud(0), cloud() + 100):
        with strict(acted, waits=1, launches=launches):
            runner.pillars(points)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_heads_take_one_wait_and_one_copy(acted: Machine, precision: str):
    heads = dict(build_heads(('detection', 'drivable'), 16).eval().items())
    device = resolve_device('cuda')
    runner = HeadRunner(heads, device, precision)
    runner.warm_up((8, 8))
    given = torch.rand(1, 16, 8, 8)
    features = [given.to(device), given.to(device, torch.bfloat16), given]
    features += [each.contiguous(memory_format=torch.channels_last) for each in features]
    for each in features:
        for min_scores in ((0.0,) * 3, (0.5,) * 3):  # nothing is recorded anew
            with strict(acted, waits=1, launches=4):
                runner(each, GRID.strided(2), min_scores)
            assert acted.launches['graph'] == 1
            # 64 peaks of each class, 11 values each, and the drivable area.
            assert acted.copied['to host'] == 4 * (3 * 64 * 11 + 64)


def test_heads_free_what_they_recorded(acted: Machine):
    heads = dict(build_heads(('detection',), 16).eval().items())
    runner = HeadRunner(heads, resolve_device('cuda'))
    before = acted.allocated
    runner.warm_up((8, 8))
    assert acted.allocated > before
    ModelRunner(heads=runner).release(ModelRunner(heads=runner))
    assert acted.allocated > before
    ModelRunner(heads=runner).release()
    assert acted.allocated == before


@pytest.mark.parametrize(('sparsity', 'launches'), [('never', 75), ('always', 75)])
def test_a_frame_takes_three_waits(acted: Machine, weights: Path, sparsity: str, launches: int):
    if sparsity == 'always':
        require_packages('triton')
    models = LoadedModels.from_file(weights, (0.0, 8.0), (-4.0, 4.0))
    assert models.grid is not None
    config = ExecutionConfig(resolve_device('cuda'), sparsity=sparsity)
    runner = build_runner(models, config, shape=models.grid.shape)
    runner(cloud(), (0.0,) * 3)
    # Numbers of points and pillars, results of the heads, times of the stages.
    with strict(acted, waits=3, launches=launches):
        runner(cloud(), (0.0,) * 3)


def test_a_fusion_does_not_wait(acted: Machine):
    device = resolve_device('cuda')
    runner = FusionRunner(lively_fusion(16, 8, 'projected'), device)
    grid = GRID.strided(2)
    camera = make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], AHEAD, (10, 6))
    bev, view = torch.rand(1, 16, *grid.shape), torch.rand(1, 8, 6, 10)
    runner(bev, grid, [(view, camera)])
    acted.reset()
    runner(bev, grid, [(view, camera)])
    assert not acted.waits, acted.wait_lines
