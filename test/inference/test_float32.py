# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Rounding of float32 on CUDA: one rule inside, and the user's settings afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from acted_machine import Machine
from fusions import lively_fusion

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.inference.precision import full_float32
from tiny_bev_ros.inference.sparse import sparse_path
from tiny_bev_ros.models import (
    CameraEncoder,
    PillarFeatureNet,
    build_backbone,
    list_backbones,
    make_camera,
    scatter,
    seeded,
)
from tiny_bev_ros.models.heads.head_registry import build_heads

CUDA = torch.device('cuda', 0)
GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)


def settings() -> dict[str, object]:
    backends = torch.backends
    found: dict[str, object] = {'cudnn': backends.cudnn.allow_tf32}
    if hasattr(backends.cudnn, 'conv'):
        parts = {'conv': backends.cudnn.conv, 'matmul': backends.cuda.matmul}
        return found | {name: part.fp32_precision for name, part in parts.items()}
    return found | {'matmul': backends.cuda.matmul.allow_tf32}


@pytest.fixture(autouse=True)
def _products_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps Triton's kernels away, which PyTorch's rule does not concern: none rounds to TF32."""
    monkeypatch.setattr(sparse_path, 'triton_unavailable_reason', lambda _: 'not wanted here')


@pytest.mark.parametrize('sparsity', ['always', 'never'])
def test_the_dense_and_the_sparse_path_follow_one_rule(acted: Machine, sparsity: str):
    before = settings()
    with seeded(0):
        network = build_backbone('fpn', in_channels=8, mid_channels=8, out_channels=16).eval()
    engine = BackboneRunner(network, CUDA, sparsity=sparsity)
    engine.warm_up((16, 16))
    features, cells = torch.rand(2, 8), torch.tensor([[3, 4], [5, 6]])
    engine.from_pillars(features, cells, (16, 16))
    engine(scatter(features, cells, (16, 16)))
    assert acted.flags['conv'] == {False}
    assert acted.flags['matmul'] == ({False} if sparsity == 'always' else set())
    assert settings() == before


def run_pillars() -> None:
    with seeded(0):
        pfn = PillarFeatureNet(out_channels=8).eval()
    PillarRunner(pfn, GRID, CUDA).pillars(np.full((9, 4), 0.5, np.float32))


def run_backbone(name: str, sparsity: str) -> None:
    with seeded(0):
        network = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16).eval()
    runner = BackboneRunner(network, CUDA, sparsity=sparsity)
    runner.warm_up(GRID.shape)
    runner.from_pillars(torch.rand(2, 8), torch.tensor([[3, 4], [5, 6]]), GRID.shape)


def run_heads() -> None:
    with seeded(0):
        heads = dict(build_heads(('detection', 'drivable'), 16).eval().items())
    HeadRunner(heads, CUDA)(torch.rand(1, 16, 16, 16), GRID, (0.0, 0.0, 0.0))


def run_camera() -> None:
    with seeded(0):
        encoder = CameraEncoder(out_channels=8, stride=8).eval()
    camera = make_camera([20, 0, 19.5, 0, 20, 11.5, 0, 0, 1], np.eye(4), (40, 24))
    CameraRunner(encoder, CUDA)(np.zeros((24, 40, 3), np.uint8), camera)


def run_fusion(mode: str) -> None:
    camera = make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], np.eye(4), (10, 6))
    view = torch.rand(1, 8, 6, 10, device=CUDA)
    bev = torch.rand(1, 16, 16, 16, device=CUDA)
    FusionRunner(lively_fusion(16, 8, mode), CUDA)(bev, GRID, [(view, camera)])


@pytest.mark.parametrize(
    ('run', 'arguments'),
    [
        (run_pillars, ()),
        *((run_backbone, (name, 'never')) for name in list_backbones()),
        *((run_backbone, (name, 'always')) for name in list_backbones()),
        (run_heads, ()),
        (run_camera, ()),
        (run_fusion, ('projected',)),
        (run_fusion, ('global',)),
    ],
)
def test_every_stage_follows_one_rule_whatever_the_user_chose(
    acted: Machine, run: Callable[..., None], arguments: Any
):
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high')  # convolutions are rounded by default
    try:
        before = settings()
        acted.reset()
        run(*arguments)
        assert acted.flags['conv'] | acted.flags['matmul'] == {False}
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision(chosen)


def test_the_rule_ends_with_the_last_of_those_who_work():
    before = settings()
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with full_float32(CUDA):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=work)
    with full_float32(CUDA):
        within = settings()
        other.start()
        assert inside.wait(10)
    assert settings() == within != before
    leave.set()
    other.join()
    assert settings() == before


def test_an_error_ends_the_rule_too():
    before = settings()
    with pytest.raises(KeyError), full_float32(CUDA):
        raise KeyError
    assert settings() == before


def test_on_the_cpu_nothing_changes():
    before = settings()
    with full_float32(torch.device('cpu')):
        assert settings() == before


def test_whatever_the_user_chose_is_set_aside_and_comes_back():
    choices = ["set_float32_matmul_precision('high')", 'backends.cudnn.allow_tf32 = False']
    if hasattr(torch.backends.cudnn, 'conv'):
        choices += [
            "backends.cudnn.conv.fp32_precision = 'ieee'",
            "backends.cuda.matmul.fp32_precision = 'tf32'",
            "backends.fp32_precision = 'tf32'",
        ]
    code = f"""
import torch
from tiny_bev_ros.inference.precision import full_float32
from tiny_bev_ros.inference.sparse import sparse_path
def read():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, 'conv'):
        return cudnn.conv.fp32_precision, matmul.fp32_precision
    return cudnn.allow_tf32, matmul.allow_tf32
for choice in {choices}:
    exec('torch.' + choice)
    before = read()
    with full_float32(torch.device('cuda', 0)):
        assert read() in (('ieee', 'ieee'), (False, False)), (choice, read())
    assert read() == before, (choice, read(), before)
"""
    # In a process of its own, as PyTorch refuses to read some mixtures from then on.
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_a_real_convolution_is_of_float32():
    x, weight = torch.rand(1, 64, 32, 32), torch.rand(64, 64, 3, 3)
    wanted = torch.nn.functional.conv2d(x.double(), weight.double())
    with full_float32(CUDA):
        found = torch.nn.functional.conv2d(x.to(CUDA), weight.to(CUDA)).cpu()
    assert ((found - wanted) / wanted).abs().max() < 1e-5
