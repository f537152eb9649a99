# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of the dense path on an acted CUDA device: values, launches, refusals, memory."""

from __future__ import annotations

import warnings

import pytest
import torch
from acted_machine import Machine
from shaken_networks import shaken

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.cuda_graph import capture_on
from tiny_bev_ros.inference.dense_path import DensePath
from tiny_bev_ros.inference.sparse.layer_chain import as_chain
from tiny_bev_ros.models import TinyBEVBackbone, build_backbone, scatter, seeded

CUDA = torch.device('cuda', 0)
SHAPE = (16, 20)
HALF = [torch.bfloat16, torch.float16]
LAYERS = 5  # the first of which is 1x1, and computed on the pillars alone

Pillars = tuple[torch.Tensor, torch.Tensor]


def pillars(seed: int, count: int = 20, shape: tuple[int, int] = SHAPE) -> Pillars:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm(shape[0] * shape[1], generator=generator)[:count]
    cells = torch.stack([flat // shape[1], flat % shape[1]], 1)
    return torch.rand(count, 8, generator=generator), cells


def network() -> torch.nn.Module:
    with seeded(0):
        return shaken(TinyBEVBackbone(8, 8, 16))


def path(dtype: torch.dtype = torch.float32) -> DensePath:
    return DensePath(network().to(CUDA), as_chain(network()), CUDA, dtype, capture_on(CUDA))


def on_cuda(given: Pillars) -> Pillars:
    return given[0].to(CUDA), given[1].to(CUDA)


def error(found: torch.Tensor, canvas: torch.Tensor) -> float:
    """Largest error relative to the largest value of the network on the CPU in float32."""
    with torch.inference_mode():
        wanted = network()(canvas)
    return float((found.cpu().float() - wanted).abs().max() / wanted.abs().max())


def tolerance(dtype: torch.dtype) -> float:
    return 1e-4 if dtype == torch.float32 else 0.05


@pytest.mark.parametrize('dtype', [torch.float32, *HALF])
def test_frames_of_pillars_and_of_images_are_those_of_the_cpu(acted: Machine, dtype: torch.dtype):
    run = path(dtype)
    frames = [(0, 20, SHAPE), (1, 31, SHAPE), (2, 0, SHAPE), (3, 320, SHAPE), (4, 7, SHAPE)]
    frames += [(5, 12, (9, 8)), (6, 30, (9, 8)), (7, 5, SHAPE)]
    for seed, count, shape in frames:
        given = pillars(seed, count, shape)
        canvas = scatter(*given, shape)
        found = run.from_pillars(*on_cuda(given), shape)
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert error(found, canvas) < tolerance(dtype)
        if seed % 3 == 1:  # the next pillars must find nothing of the image
            image = torch.flip(canvas, [2])
            assert error(run(image.to(CUDA)), image) < tolerance(dtype)
    assert run.no_graph_reason == run.unfused_reason == ''


def test_cells_of_int32_are_taken(acted: Machine):
    features, cells = on_cuda(pillars(0))
    run = path()
    wanted = run.from_pillars(features, cells, SHAPE).cpu()
    assert torch.equal(run.from_pillars(features, cells.int(), SHAPE).cpu(), wanted)


@pytest.mark.parametrize('dtype', [torch.float32, *HALF])
def test_a_frame_takes_few_launches_and_no_wait(acted: Machine, dtype: torch.dtype):
    run = path(dtype)
    frames = [on_cuda(pillars(seed, 20 + seed)) for seed in range(3)]
    run.from_pillars(*frames[0], SHAPE)
    acted.reset()
    for given in frames[1:]:
        run.from_pillars(*given, SHAPE)
    each = {'add': 1, 'addmm': 1, 'relu_': 1, 'index_copy_': 2, 'graph': 1, 'copy_': 1}
    if dtype != torch.float32:
        each['_to_copy'] = 1  # of the features
    assert acted.launches == {name: 2 * count for name, count in each.items()}
    assert not acted.waits
    assert not acted.copied


@pytest.mark.parametrize('dtype', [torch.float32, *HALF])
def test_a_layer_is_one_launch_of_the_graph(acted: Machine, dtype: torch.dtype):
    run = path(dtype)
    given = on_cuda(pillars(0))
    run.from_pillars(*given, SHAPE)
    before, launches = acted.ticks, acted.launches.total()
    run.from_pillars(*given, SHAPE)
    # A recorded launch takes a tick, like each of the others.
    assert acted.ticks - before - (acted.launches.total() - launches) == LAYERS - 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_one_graph_holds_what_follows_the_chain(acted: Machine, dtype: torch.dtype):
    with seeded(0):
        fpn = build_backbone('fpn', in_channels=8, mid_channels=8, out_channels=16).eval()
    given = pillars(1)
    with torch.inference_mode():
        wanted = fpn(scatter(*given, SHAPE))
    name = str(dtype).removeprefix('torch.')
    runner = BackboneRunner(fpn, CUDA, precision=name, sparsity='never')
    runner.warm_up(SHAPE)
    runner.from_pillars(*given, SHAPE)
    given = on_cuda(given)
    acted.reset()
    found = runner.from_checked(*given, SHAPE)
    # fpn has no layer of 1x1 to compute on the pillars alone.
    each = {'add': 1, 'index_copy_': 2, 'graph': 1, 'copy_': 1}
    if dtype != torch.float32:
        each['_to_copy'] = 1
    assert acted.launches == each
    assert not acted.waits
    assert found.dtype == dtype
    assert (found.cpu().float() - wanted).abs().max() <= tolerance(dtype) * wanted.abs().max()


@pytest.mark.parametrize('name', ['tiny', 'fpn'])  # fpn: a part follows the chain
@pytest.mark.parametrize('sparsity', ['never', 'always'])
def test_an_overflow_of_float16_is_warned_of_without_a_wait(
    acted: Machine, name: str, sparsity: str
):
    given = on_cuda(pillars(0))
    with seeded(0):
        backbone = build_backbone(name, in_channels=8, mid_channels=8, out_channels=16)
    runner = BackboneRunner(shaken(backbone), CUDA, precision='float16', sparsity=sparsity)
    for _ in range(2):
        runner.from_checked(*given, SHAPE).cpu()
    hot = given[0] * 1e6
    acted.reset()
    found = runner.from_checked(hot, given[1], SHAPE)
    if sparsity == 'never':
        # More than in bfloat16: for tiny two for values of pillars, and a number for the host.
        assert acted.launches.total() == (8 + 3 if name == 'tiny' else 6 + 1)
        assert not acted.waits
    assert not found.cpu().isfinite().all()
    assert runner.overflow_reason == ''
    with pytest.warns(UserWarning, match='values in float16 exceed 65504; expected precision'):
        for _ in range(2):  # the first one copies the number, once it waits for its result
            runner.from_checked(*given, SHAPE).cpu()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        runner.from_checked(*given, SHAPE)
    assert runner.overflow_reason.startswith('values in float16 exceed')


def test_an_overflow_that_a_fused_relu_hides_is_found(
    acted: Machine, monkeypatch: pytest.MonkeyPatch
):
    fused = torch.cudnn_convolution_relu
    # cuDNN's ReLU takes the larger of 0 and NaN, which is 0.
    monkeypatch.setattr(
        torch,
        'cudnn_convolution_relu',
        lambda *args: torch.nan_to_num(fused(*args), nan=0.0, posinf=float('inf')),
    )
    given = on_cuda(pillars(0))
    runner = BackboneRunner(network(), CUDA, precision='float16', sparsity='never')
    runner.from_checked(given[0] * 60000, given[1], SHAPE).cpu()
    runner.from_checked(*given, SHAPE).cpu()
    with pytest.warns(UserWarning, match='values in float16 exceed'):
        runner.from_checked(*given, SHAPE)


@pytest.mark.parametrize('sparsity', ['never', 'always'])
def test_an_overflow_on_the_cpu(monkeypatch: pytest.MonkeyPatch, sparsity: str):
    monkeypatch.setattr('tiny_bev_ros.inference.precision.reason_for_float32', lambda _: '')
    features, cells = pillars(0)
    runner = BackboneRunner(network(), torch.device('cpu'), precision='float16', sparsity=sparsity)
    runner.from_pillars(features * 65504, cells, SHAPE)
    runner.from_pillars(features, cells, SHAPE)
    with pytest.warns(UserWarning, match='values in float16 exceed'):
        runner.from_pillars(features, cells, SHAPE)


@pytest.mark.parametrize('broken', ['add', 'addmm', 'index_copy_', 'graph', 'copy_'])
def test_a_failed_frame_leaves_nothing_for_the_next(
    acted: Machine, monkeypatch: pytest.MonkeyPatch, broken: str
):
    run = path(torch.bfloat16)
    for seed in range(2):
        run.from_pillars(*on_cuda(pillars(seed)), SHAPE)
    failed = on_cuda(pillars(2))
    plain = acted.launch

    def launch(name: str) -> None:
        plain(name)
        if name == broken:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(acted, 'launch', launch)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            run.from_pillars(*failed, SHAPE)
    given = pillars(3)
    found = run.from_pillars(*on_cuda(given), SHAPE)
    assert error(found, scatter(*given, SHAPE)) < 0.05


def test_a_result_outlives_the_next_frame(acted: Machine):
    run = path(torch.bfloat16)
    first = run.from_pillars(*on_cuda(pillars(0)), SHAPE)
    kept = first.cpu()
    second = run.from_pillars(*on_cuda(pillars(1)), SHAPE)
    assert torch.equal(first.cpu(), kept)
    third = run.from_pillars(*on_cuda(pillars(2)), SHAPE)
    assert third.data_ptr() == first.data_ptr() != second.data_ptr()


def test_layers_that_cudnn_refuses_run_in_parts(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    fused = torch.cudnn_convolution_relu
    tried = []

    def refuse(x: torch.Tensor, weight: torch.Tensor, *others: object) -> torch.Tensor:
        tried.append(weight.shape)
        if weight.shape[0] == 16:
            raise RuntimeError('GET was unable to find an engine to execute this computation\nso')
        return fused(x, weight, *others)

    monkeypatch.setattr(torch, 'cudnn_convolution_relu', refuse)
    run = path(torch.float16)
    given = pillars(0)
    with pytest.warns(UserWarning, match='ReLU are not fused: GET was unable to find an engine'):
        found = run.from_pillars(*on_cuda(given), SHAPE)
    assert error(found, scatter(*given, SHAPE)) < 0.05
    assert run.unfused_reason.startswith('GET was unable to find an engine')
    assert run.no_graph_reason == ''
    tried.clear()
    run.from_pillars(*on_cuda(given), SHAPE)  # decided once for a shape
    assert not tried


@pytest.mark.parametrize('factor', [1.1, float('nan')])
def test_layers_that_cudnn_computes_otherwise_run_in_parts(
    acted: Machine, monkeypatch: pytest.MonkeyPatch, factor: float
):
    fused = torch.cudnn_convolution_relu
    monkeypatch.setattr(torch, 'cudnn_convolution_relu', lambda *args: factor * fused(*args))
    run = path(torch.bfloat16)
    given = pillars(0)
    with pytest.warns(UserWarning, match='ReLU are not fused: cuDNN computes another result'):
        found = run.from_pillars(*on_cuda(given), SHAPE)
    assert error(found, scatter(*given, SHAPE)) < 0.05


def test_a_pytorch_without_the_fused_function(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch, 'cudnn_convolution_relu')
    run = path(torch.float16)
    with pytest.warns(UserWarning, match='not fused'):
        found = run.from_pillars(*on_cuda(pillars(0)), SHAPE)
    assert error(found, scatter(*pillars(0), SHAPE)) < 0.05


def test_a_refusal_in_float32_is_expected(acted: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch, 'cudnn_convolution_relu')
    run = path()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = run.from_pillars(*on_cuda(pillars(0)), SHAPE)
    assert error(found, scatter(*pillars(0), SHAPE)) < 1e-4
    assert run.unfused_reason


@pytest.mark.parametrize(
    'text', ['CUDA out of memory', 'CUDA error: an illegal memory access was encountered']
)
def test_a_shortage_or_a_lost_device_is_no_refusal(
    acted: Machine, monkeypatch: pytest.MonkeyPatch, text: str
):
    kind = torch.cuda.OutOfMemoryError if 'out of' in text else RuntimeError

    def fail(*_: object) -> None:
        raise kind(text)

    run = path()
    with monkeypatch.context() as patch:
        patch.setattr(torch, 'cudnn_convolution_relu', fail)
        with pytest.raises(kind, match=text):
            run.from_pillars(*on_cuda(pillars(0)), SHAPE)
    assert run.unfused_reason == ''
    assert error(run.from_pillars(*on_cuda(pillars(0)), SHAPE), scatter(*pillars(0), SHAPE)) < 1e-4


def test_release_frees_all_but_the_weights_and_the_next_frame_works(acted: Machine):
    run = path(torch.bfloat16)
    given = on_cuda(pillars(0))
    before = acted.allocated
    wanted = run.from_pillars(*given, SHAPE).cpu()
    assert acted.allocated > before
    run.release()
    assert acted.allocated == before
    assert torch.equal(run.from_pillars(*given, SHAPE).cpu(), wanted)
