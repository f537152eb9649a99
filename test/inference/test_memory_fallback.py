# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Memory fallback under injected shortage: its steps, their order, and recovery."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.inference import memory, model_builder
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import NotEnoughMemoryError, translate_oom
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.models import FeatureInfo, build_backbone

CPU = torch.device('cpu')
CUDA = torch.device('cuda')  # named only, not used
START = ExecutionConfig(CUDA, 'float32', 'auto')
FREED = 'with caches freed'
# As on CUDA, where sparse frames take more than dense ones; both paths are kept for 'auto'.
NEEDS = {
    ('float32', 'auto'): 26,
    ('float32', 'always'): 16,
    ('bfloat16', 'auto'): 13,
    ('float32', 'never'): 10,
    ('bfloat16', 'always'): 8,
    ('bfloat16', 'never'): 5,
}
STEPS = [
    ('sparse only',),
    ('in bfloat16',),
    ('dense only',),
    ('sparse only', 'in bfloat16'),
    ('dense only', 'in bfloat16'),
    ('on the CPU',),
]


class Machine:
    """Builder for a device of so much memory, whose runners need what NEEDS tells."""

    def __init__(self, memory: int, *, can_be_sparse: bool = True, of_cpu: int = 1000) -> None:
        self.memory = {'cuda': memory, 'cpu': of_cpu}
        self.can_be_sparse = can_be_sparse
        self.cached = 0
        self.built: list[ExecutionConfig] = []
        self.logged: list[str] = []

    def __call__(self, config: ExecutionConfig) -> FakeNetworks:
        self.built.append(config)
        return FakeNetworks(self, config)

    def needed_bytes(self, config: ExecutionConfig) -> int | None:
        if not self.can_be_sparse:
            sparsity = 'never' if config.sparsity == 'auto' else config.sparsity
            return None if sparsity == 'always' else NEEDS[config.precision, sparsity]
        return NEEDS[config.precision, config.sparsity]

    def fallback(self, config=START, lower=True, cpu=True) -> MemoryFallback[FakeNetworks]:
        return MemoryFallback(
            self, config, self.logged.append, allow_lower_precision=lower, allow_cpu=cpu
        )


class FakeNetworks:
    def __init__(self, machine: Machine, config: ExecutionConfig) -> None:
        self.machine, self.config = machine, config
        self.released = False

    def release(self, successor: object = None) -> None:
        self.released = True
        self.machine.cached = 0

    def __call__(self, times: int = 1) -> ExecutionConfig:
        machine = self.machine
        need = times * (machine.needed_bytes(self.config) or 0)
        with translate_oom(f'{need}'):
            if need + machine.cached > machine.memory[self.config.device.type]:
                raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate')
        return self.config


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: None)


@pytest.mark.parametrize(
    ('memory', 'taken', 'precision', 'sparsity'),
    [
        (26, 0, 'float32', 'auto'),
        (16, 1, 'float32', 'always'),
        (13, 2, 'bfloat16', 'auto'),
        (10, 3, 'float32', 'never'),
        (8, 4, 'bfloat16', 'always'),
        (5, 5, 'bfloat16', 'never'),
        (4, 6, 'float32', 'auto'),
    ],
)
def test_steps_are_taken_in_the_order_of_what_they_need(memory, taken, precision, sparsity):
    machine = Machine(memory)
    fallback = machine.fallback()
    for _ in range(5):
        fallback.run(lambda runner: runner())
    logged = [line.partition('; now ')[2] for line in machine.logged]
    wanted = [(FREED,), *STEPS[:taken]] if taken else []
    assert logged == [', '.join(step) for step in wanted]
    assert all('CUDA out of memory' in line for line in machine.logged)
    assert fallback.steps == ((FREED, *STEPS[taken - 1]) if taken else ())
    assert fallback.config == ExecutionConfig(CPU if taken == 6 else CUDA, precision, sparsity)
    assert not fallback.exhausted


def test_auto_that_is_float32_may_become_bfloat16(monkeypatch):
    monkeypatch.setitem(NEEDS, ('auto', 'never'), NEEDS['float32', 'never'])
    machine = Machine(NEEDS['float32', 'never'] - 1)
    config = ExecutionConfig(CUDA, 'auto', 'never')
    fallback = machine.fallback(config)
    fallback.run(lambda runner: runner())
    assert fallback.config == ExecutionConfig(CUDA, 'bfloat16', 'never')


def test_on_the_cpu_it_goes_on_in_the_same_way():
    machine = Machine(1, of_cpu=10)
    fallback = machine.fallback(lower=False)
    fallback.run(lambda runner: runner())
    assert fallback.config == ExecutionConfig(CPU, 'float32', 'never')
    assert fallback.steps == (FREED, 'dense only', 'on the CPU')


def test_freeing_caches_is_tried_first_and_is_possible_again_later():
    machine = Machine(26)
    fallback = machine.fallback()
    fallback.run(lambda runner: runner())
    for _ in range(2):
        machine.cached = 5
        assert fallback.run(lambda runner: runner()) == START
        assert fallback.steps == (FREED,)
        for _ in range(100):
            fallback.run(lambda runner: runner())
        assert fallback.steps == ()
    assert [line.partition('; now ')[2] for line in machine.logged] == [FREED] * 2


@pytest.mark.parametrize(
    ('config', 'lower', 'cpu', 'can_be_sparse', 'last'),
    [
        (START, False, False, True, ('dense only',)),
        (START, False, True, True, ('dense only', 'on the CPU')),
        (START, False, True, False, ('on the CPU',)),
        (ExecutionConfig(CUDA, 'float32', 'never'), True, False, True, ('in bfloat16',)),
        (ExecutionConfig(CPU, 'bfloat16', 'never'), True, True, True, ()),
    ],
)
def test_steps_that_are_not_allowed_or_save_nothing_are_left_out(
    config, lower, cpu, can_be_sparse, last
):
    machine = Machine(1, can_be_sparse=can_be_sparse, of_cpu=1)
    fallback = machine.fallback(config, lower, cpu)
    with pytest.raises(NotEnoughMemoryError, match='CUDA out of memory'):
        fallback.run(lambda runner: runner())
    assert fallback.steps == (FREED, *last)
    assert fallback.exhausted


def test_an_input_that_is_too_large_for_all_steps_leaves_no_trace():
    machine = Machine(26)
    fallback = machine.fallback()
    fallback.run(lambda runner: runner())
    with pytest.raises(NotEnoughMemoryError):
        fallback.run(lambda runner: runner(1000))
    assert not fallback.exhausted
    assert fallback.run(lambda runner: runner()) == START
    assert fallback.steps == ()


def test_several_in_a_row_are_no_accident():
    machine = Machine(26)
    fallback = machine.fallback()
    fallback.run(lambda runner: runner())
    for count in range(3):
        assert not fallback.exhausted, count
        with pytest.raises(NotEnoughMemoryError):
            fallback.run(lambda runner: runner(1000))
    assert 'CUDA out of memory' in fallback.exhausted


def test_building_networks_takes_steps_as_well():
    class Failing(Machine):
        def __call__(self, config: ExecutionConfig) -> FakeNetworks:
            with translate_oom('the networks'):
                if config.device.type != 'cpu':
                    raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling')
            return super().__call__(config)

    fallback = Failing(26).fallback(lower=False)
    assert fallback.config == ExecutionConfig(CPU, 'float32', 'auto')
    assert fallback.steps == (FREED, 'on the CPU')
    with pytest.raises(NotEnoughMemoryError):
        Failing(26).fallback(lower=False, cpu=False)


def test_other_networks_are_made_beside_those_of_now_and_take_their_place():
    machine, other = Machine(13), Machine(100)
    fallback = machine.fallback()
    fallback.run(lambda runner: runner())
    assert fallback.steps == (FREED, 'in bfloat16')
    old = fallback.runner
    adopt = fallback.prepare(other, precision='float32')
    assert fallback.runner is old
    assert not old.released
    adopt()
    assert old.released
    assert fallback.run(lambda runner: runner()) == START
    assert fallback.steps == (FREED,)


def test_a_step_that_is_taken_meanwhile_holds_for_other_networks_as_well():
    machine, other = Machine(16), Machine(16)
    fallback = machine.fallback()
    adopt = fallback.prepare(other)
    fallback.run(lambda runner: runner())
    adopt()
    assert other.built == [START]
    wanted = ExecutionConfig(CUDA, 'float32', 'always')
    assert fallback.run(lambda runner: runner()) == wanted
    assert other.built == [START, wanted]
    assert fallback.steps == (FREED, 'sparse only')


def test_when_there_is_no_room_for_other_networks_those_of_now_stay():
    class Full(Machine):
        def __call__(self, config: ExecutionConfig) -> FakeNetworks:
            raise NotEnoughMemoryError('no room')

    machine = Machine(26)
    fallback = machine.fallback()
    with pytest.raises(NotEnoughMemoryError, match='no room'):
        fallback.prepare(Full(26))
    assert fallback.run(lambda runner: runner()) == START
    assert machine.built == [START]


def test_networks_that_were_released_are_built_again():
    fallback = Machine(26).fallback()
    old = fallback.runner
    fallback.release()
    assert old.released
    assert fallback.run(lambda runner: runner()) == START
    assert fallback.runner is not old


def only_backbone(name: str, **channels: int) -> LoadedModels:
    backbone = build_backbone(name, **channels).eval()
    return LoadedModels(backbone=backbone)


def test_a_real_engine_goes_on_sparse_and_right(monkeypatch):
    weights = only_backbone('tiny', in_channels=4, mid_channels=4, out_channels=6)
    canvas = torch.zeros(1, 4, 20, 30)
    canvas[0, :, 7, 9] = 1
    with torch.no_grad():
        wanted = weights.backbone(canvas)

    class Builder(ModelBuilder):
        def __call__(self, config: ExecutionConfig) -> ModelRunner:
            engine = BackboneRunner(weights.backbone, CPU, sparsity=config.sparsity)
            return ModelRunner(backbone=engine)

    def short(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    # Memory is short for dense convolutions alone, which the frame would take.
    monkeypatch.setattr('tiny_bev_ros.inference.dense_path.DensePath.__call__', short)
    monkeypatch.setattr(
        'tiny_bev_ros.inference.backbone_paths.sparse_is_cheaper', lambda *_: False
    )
    logged: list[str] = []
    fallback = MemoryFallback(
        Builder(weights, lambda: (20, 30)),
        ExecutionConfig(CPU, 'float32', 'auto'),
        logged.append,
        allow_lower_precision=False,
        allow_cpu=True,
    )
    features = fallback.run(lambda runner: runner.backbone(canvas).clone())
    assert (features - wanted).abs().max() < 1e-5
    assert fallback.steps == (FREED, 'sparse only')


def test_half_a_dense_path_takes_less_of_a_gpu_than_a_sparse_one():
    """It is a later step than the sparse path, by the order of needs."""
    builder = ModelBuilder(only_backbone('tiny'), lambda: None)
    needs = {
        (precision, sparsity): builder.needed_bytes(ExecutionConfig(CUDA, precision, sparsity))
        for precision, sparsity in NEEDS
    }
    assert needs['bfloat16', 'never'] < needs['float32', 'never'] < needs['float32', 'always']
    assert needs['float32', 'auto'] == needs['float32', 'always'] + needs['float32', 'never']


class NotAChain(torch.nn.Module):
    """Backbone with a layer of a kind that no chain has."""

    in_channels = 4
    feature_info = (FeatureInfo('pool', 4, stride=2),)

    def __init__(self) -> None:
        super().__init__()
        self.pool = torch.nn.MaxPool2d(2)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x)


def test_what_is_no_chain_cannot_become_sparse():
    weights = LoadedModels(backbone=NotAChain())
    builder = ModelBuilder(weights, lambda: (40, 40))
    assert builder.needed_bytes(ExecutionConfig(CUDA, 'float32', 'always')) is None
    auto, never = (
        builder.needed_bytes(ExecutionConfig(CUDA, 'float32', sparsity))
        for sparsity in ('auto', 'never')
    )
    assert auto == never == 4 * 4 * 40 * 40 + 4 * 4 * 4 * 20 * 20
    assert builder.needed_bytes(ExecutionConfig(CUDA, 'bfloat16', 'auto')) < auto


class Log:
    """Logger that collects lines, also those of the fallback."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)

    warning = info


def test_a_start_that_takes_long_is_logged_before_with_what_it_takes(monkeypatch):
    weights, log = only_backbone('tiny', in_channels=4, mid_channels=4), Log()
    config = ExecutionConfig(CPU, 'float32', 'never')
    builder = ModelBuilder(weights, lambda: (40, 60), log)
    builder(config)
    assert log.lines == []
    monkeypatch.setattr(model_builder, '_LONG_START', 0)
    monkeypatch.setattr(BackboneRunner, 'warm_up', lambda self, _: log.info('warms up'))
    builder(config)
    mib = builder.needed_bytes(config) / 2**20
    assert log.lines == [
        f'warming up for a grid of 40 x 60 cells, which takes about {mib:.0f} MiB and some time',
        'warms up',
    ]


def test_a_map_that_no_setting_has_memory_for_is_one_line_and_another_runs_with_less(monkeypatch):
    weights, log = only_backbone('tiny'), Log()
    builder = ModelBuilder(weights, lambda: (80, 120), log)
    needs = {
        sparsity: builder.needed_bytes(ExecutionConfig(CPU, 'float32', sparsity))
        for sparsity in ('auto', 'always', 'never')
    }
    assert needs['auto'] > max(needs['always'], needs['never'])

    def fallback(free: int) -> MemoryFallback[ModelRunner]:
        monkeypatch.setattr(memory, 'free_bytes', lambda device: free)
        config = ExecutionConfig(CPU, 'float32', 'auto')
        return MemoryFallback(
            builder, config, log.info, allow_lower_precision=False, allow_cpu=True
        )

    assert fallback(needs['auto'] - 1).config.sparsity in ('always', 'never')
    assert all(line.startswith('map of 80 x 120 cells takes') for line in log.lines)
    with pytest.raises(NotEnoughMemoryError, match=r'^map of 80 x 120 cells takes \d+ MiB; exp'):
        fallback(1000)
