# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""A backbone runner computes the result of the dense network for every input."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shaken_networks import Residual, shaken
from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference import backbone_paths
from tiny_bev_ros.inference import precision as precision_module
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.sparse import sparse_path
from tiny_bev_ros.inference.sparse.background import backgrounds
from tiny_bev_ros.inference.sparse.layer_chain import as_chain
from tiny_bev_ros.models import (
    FeatureInfo,
    PillarFeatureNet,
    TinyBEVBackbone,
    build_backbone,
    list_backbones,
    scatter,
    seeded,
)

CPU = torch.device('cpu')
TOLERANCE = 1e-5
KITTI = BevGrid((0, 69.12), (-39.68, 39.68), (-3, 1), 0.16)
WHY_NO_NUMBA = numba_unavailable_reason()
CHAINS = [
    pytest.param('numba', marks=pytest.mark.skipif(bool(WHY_NO_NUMBA), reason=WHY_NO_NUMBA)),
    'torch',
]


@pytest.fixture(params=CHAINS)
def chain(request, monkeypatch) -> str:
    """Sparse path of runners on the CPU: numba or PyTorch."""
    why_not = '' if request.param == 'numba' else 'it is missing'
    monkeypatch.setattr(sparse_path, 'numba_unavailable_reason', lambda: why_not)
    return request.param


def backbone(seed: int = 0, channels: tuple[int, int, int] = (6, 5, 7)) -> nn.Module:
    with seeded(seed):
        return shaken(TinyBEVBackbone(*channels), seed)


def pillars(
    shape: tuple[int, int], share: float, channels: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    rows, cols = np.nonzero(random.random(shape) < share)
    features = random.normal(size=(len(rows), channels)).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(np.stack([rows, cols], 1))


def difference(got: torch.Tensor, network: nn.Module, canvas: torch.Tensor) -> float:
    """Greatest difference over the greatest magnitude."""
    with torch.no_grad():
        wanted = network(canvas)
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


@pytest.mark.usefixtures('chain')
@pytest.mark.parametrize('name', list_backbones())
@pytest.mark.parametrize('shape', [(200, 200), (63, 130)])
def test_every_backbone_of_the_registry(name: str, shape: tuple[int, int]):
    with seeded(1):
        network = shaken(build_backbone(name))
    runner = BackboneRunner(network, CPU)
    features, cells = pillars(shape, 0.04, runner.in_channels)
    canvas = scatter(features, cells, shape)
    assert difference(runner(canvas).clone(), network, canvas) < TOLERANCE
    got = runner.from_pillars(features, cells, shape).clone()
    assert difference(got, network, canvas) < TOLERANCE


@pytest.mark.usefixtures('chain')
@given(
    rows=st.integers(1, 50),
    cols=st.integers(1, 50),
    share=st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_size_occupancy_and_weights(rows: int, cols: int, share: float, seed: int):
    network = backbone(seed)
    features, cells = pillars((rows, cols), share, 6, seed)
    canvas = scatter(features, cells, (rows, cols))
    runner = BackboneRunner(network, CPU, sparsity='always', threads=1)
    assert difference(runner(canvas), network, canvas) < TOLERANCE
    assert runner.statistics.path == 'sparse'
    # The first pair of buffers again, and the second.
    for again in range(3):
        features, cells = pillars((rows, cols), share, 6, seed + again)
        canvas = scatter(features, cells, (rows, cols))
        got = runner.from_pillars(features, cells, (rows, cols))
        assert difference(got, network, canvas) < TOLERANCE


@pytest.mark.usefixtures('chain')
@pytest.mark.parametrize(
    'place', [(0, 0), (0, 40), (36, 0), (36, 40), (0, 20), (18, 40), (18, 20)]
)
@pytest.mark.parametrize('shape', [(37, 41), (36, 42)])
def test_one_pillar_in_corners_and_on_borders(place: tuple[int, int], shape: tuple[int, int]):
    row, col = min(place[0], shape[0] - 1), min(place[1], shape[1] - 1)
    network = backbone()
    cells = torch.tensor([[row, col]])
    features = torch.randn(1, 6)
    runner = BackboneRunner(network, CPU, sparsity='always')
    got = runner.from_pillars(features, cells, shape)
    assert difference(got, network, scatter(features, cells, shape)) < TOLERANCE


@pytest.mark.parametrize('shape', [(200, 200), (101, 64), (5, 90), (1, 1)])
def test_the_background_is_the_answer_to_an_empty_map(shape: tuple[int, int]):
    network = backbone()
    layers = as_chain(network)
    x = torch.zeros(1, 6, *shape)
    for layer, background in zip(layers, backgrounds(layers, shape), strict=True):
        x = layer(x)
        torch.testing.assert_close(torch.from_numpy(background.full()), x[0], atol=1e-5, rtol=0)


@pytest.mark.usefixtures('chain')
def test_batches():
    network = backbone()
    runner = BackboneRunner(network, CPU, sparsity='always')
    canvas = torch.cat([scatter(*pillars((30, 40), 0.1, 6, seed), (30, 40)) for seed in range(3)])
    assert difference(runner(canvas), network, canvas) < TOLERANCE


@pytest.mark.usefixtures('chain')
def test_a_result_outlives_the_next_call():
    network = backbone()
    runner = BackboneRunner(network, CPU, sparsity='always')
    canvases = [scatter(*pillars((30, 40), 0.1, 6, seed), (30, 40)) for seed in range(2)]
    first = runner(canvases[0])
    kept = first.clone()
    runner(canvases[1])
    assert torch.equal(first, kept)


@pytest.mark.usefixtures('chain')
def test_other_chains_run_sparse_too():
    class Other(nn.Sequential):
        in_channels, out_channels = 4, 3
        feature_info = (FeatureInfo('3', 3, 4),)

    with seeded(0):
        network = shaken(
            Other(
                nn.Conv2d(4, 8, 3, 2, 1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 3, 3, 2, 1),
            )
        )
    runner = BackboneRunner(network, CPU, sparsity='always')
    for shape in ((40, 40), (41, 42), (43, 39)):
        features, cells = pillars(shape, 0.05, 4)
        got = runner.from_pillars(features, cells, shape)
        assert difference(got, network, scatter(features, cells, shape)) < TOLERANCE


def test_what_is_no_chain_runs_dense_and_says_so():
    network = Residual().eval()
    network.in_channels, network.feature_info = 4, (FeatureInfo('conv', 4, 1),)
    runner = BackboneRunner(network, CPU)
    canvas = torch.randn(2, 4, 8, 9)
    assert difference(runner(canvas), network, canvas) < TOLERANCE
    assert runner.statistics.path == 'dense'
    assert 'convolutions in sequence' in runner.dense_reason
    with pytest.raises(TinyBevError, match='sparsity is always, but'):
        BackboneRunner(network, CPU, sparsity='always')


@pytest.mark.usefixtures('chain')
def test_auto_takes_dense_for_a_full_map_and_sparse_for_an_empty_one(monkeypatch):
    network = backbone(channels=(64, 64, 128))
    runner = BackboneRunner(network, CPU)
    empty = torch.zeros(1, 64, 128, 128)
    assert difference(runner(empty), network, empty) < TOLERANCE
    assert runner.statistics.path == 'sparse'
    assert runner.statistics.active_fraction == runner.statistics.work_fraction == 0.0
    monkeypatch.setattr(backbone_paths, 'CPU_MAX_WORK_FRACTION', 1 / 8)
    full = torch.rand(1, 64, 128, 128)
    assert difference(runner(full), network, full) < TOLERANCE
    assert runner.statistics.path == 'dense'
    assert runner.statistics.active_fraction == 1.0


@pytest.mark.usefixtures('chain')
@pytest.mark.parametrize('sparsity', ['always', 'never'])
def test_changed_weights_are_noticed(sparsity: str):
    network = backbone()
    runner = BackboneRunner(network, CPU, sparsity=sparsity)
    canvas = scatter(*pillars((30, 40), 0.1, 6), (30, 40))
    runner(canvas)
    network.load_state_dict(backbone(seed=5).state_dict())
    assert difference(runner(canvas), network, canvas) < TOLERANCE
    with torch.no_grad():
        network.down[1].running_var.mul_(2)
    assert difference(runner(canvas), network, canvas) < TOLERANCE


@pytest.mark.usefixtures('chain')
@pytest.mark.parametrize(('sparsity', 'path'), [('auto', 'dense'), ('always', 'sparse')])
def test_work_fraction_decides_between_the_paths_only_for_auto(
    monkeypatch, sparsity: str, path: str
):
    monkeypatch.setattr(backbone_paths, 'CPU_MAX_WORK_FRACTION', 10.0)
    runner = BackboneRunner(backbone(), CPU, sparsity=sparsity)
    runner.warm_up((30, 40))
    canvas = scatter(*pillars((30, 40), 0.1, 6), (30, 40))
    runner(canvas)
    assert runner.statistics.path == 'sparse'
    fraction = runner.statistics.work_fraction
    monkeypatch.setattr(backbone_paths, 'CPU_MAX_WORK_FRACTION', fraction)
    runner(canvas)
    assert runner.statistics.path == 'sparse'
    monkeypatch.setattr(backbone_paths, 'CPU_MAX_WORK_FRACTION', 0.99 * fraction)
    runner(canvas)
    assert runner.statistics.path == path
    assert runner.statistics.work_fraction == fraction


@pytest.mark.parametrize(
    ('chain', 'module', 'name'),
    [
        *(
            pytest.param('numba', f'kernels.{module}', name, marks=CHAINS[0].marks)
            for module, name in (
                ('direct_kernels', 'count_groups'),
                ('direct_kernels', 'gather'),
                ('tile_masks', 'count_tiles'),
                ('winograd', 'transform_output'),
                ('canvas_kernels', 'update_map'),
            )
        ),
        ('torch', 'sparse.torch_layer', 'TorchLayer.widen'),
        ('torch', 'sparse.torch_layer', 'TorchBackground.indices'),
        ('torch', 'sparse.torch_chain', '_Output._put'),
    ],
    indirect=['chain'],
)
def test_a_frame_that_fails_half_way_leaves_no_trace(
    monkeypatch, chain: str, module: str, name: str
):
    network = backbone()
    runner = BackboneRunner(network, CPU, sparsity='always', threads=1)
    canvases = [scatter(*pillars((30, 40), 0.1, 6, seed), (30, 40)) for seed in range(2)]
    runner(canvases[0])

    def fail(*_):
        raise MemoryError('none left')

    importlib.import_module(f'tiny_bev_ros.inference.{module}')
    with monkeypatch.context() as patch:
        patch.setattr(f'tiny_bev_ros.inference.{module}.{name}', fail)
        with pytest.raises(TinyBevError, match='not enough memory'):
            runner(canvases[0])
    assert difference(runner(canvases[1]), network, canvases[1]) < TOLERANCE


@pytest.mark.usefixtures('chain')
def test_a_network_built_in_inference_mode():
    with torch.inference_mode():
        network = backbone()
        runner = BackboneRunner(network, CPU, sparsity='always')
        canvas = scatter(*pillars((30, 40), 0.1, 6), (30, 40))
        for _ in range(3):
            assert difference(runner(canvas), network, canvas) < TOLERANCE


def test_train_mode_and_wrong_arguments_are_refused():
    with pytest.raises(TinyBevError, match='precision is'):
        BackboneRunner(backbone(), CPU, precision='int8')
    with pytest.raises(TinyBevError, match='sparsity is'):
        BackboneRunner(backbone(), CPU, sparsity='maybe')
    runner = BackboneRunner(backbone(), CPU)
    with pytest.raises(TinyBevError, match='channel size is 5; expected 6'):
        runner(torch.zeros(1, 5, 8, 8))
    runner._network.train()
    with pytest.raises(TinyBevError, match='train mode'):
        runner(torch.zeros(1, 6, 8, 8))
    with pytest.raises(TinyBevError, match='train mode'):
        BackboneRunner(backbone().train(), CPU)


@pytest.mark.usefixtures('chain')
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
@pytest.mark.parametrize('sparsity', ['always', 'never'])
def test_lower_precision_is_close(monkeypatch, precision: str, sparsity: str):
    monkeypatch.setattr(precision_module, 'reason_for_float32', lambda _: '')
    network = backbone(channels=(64, 64, 128))
    runner = BackboneRunner(network, CPU, precision=precision, sparsity=sparsity)
    canvas = scatter(*pillars((60, 60), 0.1, 64), (60, 60))
    got = runner(canvas)
    assert got.dtype in (torch.float32, getattr(torch, precision))
    with torch.no_grad():
        wanted = network(canvas)
    assert 1e-6 < (got - wanted).norm() / wanted.norm() < 0.01
    assert runner.float32_reason == ''


@pytest.mark.skipif(bool(WHY_NO_NUMBA), reason=WHY_NO_NUMBA)
@pytest.mark.parametrize('precision', ['float32', 'bfloat16', 'float16'])
def test_the_part_after_a_chain_takes_its_map_as_it_is(monkeypatch, precision: str):
    monkeypatch.setattr(precision_module, 'reason_for_float32', lambda _: '')
    with seeded(1):
        network = shaken(build_backbone('fpn'))
    runner = BackboneRunner(network, CPU, precision=precision, sparsity='always')
    passed = []
    after = runner._paths._after
    monkeypatch.setattr(runner._paths, '_after', lambda x: passed.append(x) or after(x))
    for seed in range(3):  # the background is restored in a map that was used before
        canvas = scatter(*pillars((60, 70), 0.1, 64, seed), (60, 70))
        got = runner(canvas)
        for each in (passed[-1], got):
            assert each.dtype == getattr(torch, precision)
            assert each.is_contiguous(memory_format=torch.channels_last)
        tolerance = TOLERANCE if precision == 'float32' else 0.03
        assert difference(got.float(), network, canvas) < tolerance


@pytest.mark.parametrize('sparsity', ['always', 'never'])
def test_a_precision_that_is_slower_here_gives_way_to_float32(monkeypatch, sparsity: str):
    monkeypatch.setattr(precision_module, 'reason_for_float32', lambda dtype: f'{dtype} is slow')
    network = backbone()
    runner = BackboneRunner(network, CPU, precision='float16', sparsity=sparsity)
    assert runner.float32_reason == 'torch.float16 is slow'
    canvas = scatter(*pillars((30, 40), 0.1, 6), (30, 40))
    assert difference(runner(canvas), network, canvas) < TOLERANCE


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_auto_computes_in_the_dtype_of_the_device_which_statistics_name(monkeypatch, dtype):
    monkeypatch.setattr('tiny_bev_ros.inference.precision.auto_dtype', lambda _: dtype)
    monkeypatch.setattr(precision_module, 'reason_for_float32', lambda _: 'nothing is measured')
    network = backbone()
    runner = BackboneRunner(network, CPU, precision='auto', sparsity='never')
    canvas = scatter(*pillars((30, 40), 0.1, 6), (30, 40))
    limit = TOLERANCE if dtype == torch.float32 else 0.05
    assert difference(runner(canvas), network, canvas) < limit
    assert runner.statistics.precision == str(dtype).removeprefix('torch.')
    assert runner.float32_reason == ''


@pytest.mark.parametrize('threads', [1, 2, 3])
def test_threads_do_not_change_the_result(threads: int):
    network = backbone(channels=(64, 64, 128))
    canvas = scatter(*pillars((90, 90), 0.2, 64), (90, 90))
    runner = BackboneRunner(network, CPU, sparsity='always', threads=threads)
    before = torch.get_num_threads()
    assert difference(runner(canvas), network, canvas) < TOLERANCE
    assert torch.get_num_threads() == before


def test_real_sweeps(data_dir, chain: str):
    with seeded(0):
        pfn, network = PillarFeatureNet().eval(), shaken(TinyBEVBackbone())
    runner = BackboneRunner(network, CPU, sparsity='always')
    sweeps = sorted((data_dir / 'kitti' / 'velodyne').glob('*.bin'))
    for sweep in sweeps if chain == 'numba' else sweeps[::3]:
        points = torch.from_numpy(np.fromfile(sweep, np.float32).reshape(-1, 4))
        with torch.no_grad():
            features, cells = pfn(points, KITTI)
        got = runner.from_pillars(features, cells, KITTI.shape)
        assert difference(got, network, scatter(features, cells, KITTI.shape)) < TOLERANCE
        assert 0.01 < runner.statistics.work_fraction < 0.4
    assert len(sweeps) >= 7


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['float32', 'float16'])
@pytest.mark.parametrize('sparsity', ['auto', 'always', 'never'])
def test_cuda(precision: str, sparsity: str):
    network = backbone(channels=(64, 64, 128))
    found = [pillars((60, 60), 0.1, 64, seed) for seed in range(3)]
    canvases = [scatter(*one, (60, 60)) for one in found]
    with torch.no_grad():
        wanted = [network(canvas) for canvas in canvases]
    runner = BackboneRunner(network, torch.device('cuda'), precision=precision, sparsity=sparsity)
    runner.warm_up((60, 60))
    assert runner.dense_reason == runner.no_graph_reason == runner.float32_reason == ''
    for one, canvas, right in zip(found, canvases, wanted, strict=True):
        for got in (runner(canvas).cpu(), runner.from_pillars(*one, (60, 60)).cpu()):
            assert (got - right).norm() / right.norm() < 0.01
