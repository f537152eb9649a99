# SPDX-License-Identifier: Apache-2.0
"""Shortage of memory, injected: what is given up, in which order, and what comes after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tiny_bev_ros.engine.engine import BackboneEngine
from tiny_bev_ros.engine.memory import (
    MemoryLadder,
    NotEnoughMemoryError,
    Settings,
    device_memory_mb,
    enough_memory,
    limit_device_memory,
)
from tiny_bev_ros.engine.networks import NodeNetworks
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import build_backbone

CPU = torch.device('cpu')
CUDA = torch.device('cuda')  # is named only, never used
START = Settings(CUDA, 'float32', 'auto')
ALL_STEPS = ('with caches freed', 'sparse only', 'in bfloat16', 'on the CPU')


class Machine:
    """Makes networks that need so much, less with each step, of a memory of so much."""

    def __init__(self, memory: int, can_be_sparse: bool = True) -> None:
        self.memory, self.can_be_sparse = memory, can_be_sparse
        self.cached = 0
        self.built: list[Settings] = []
        self.told: list[str] = []

    def build(self, settings: Settings) -> FakeNetworks:
        self.built.append(settings)
        return FakeNetworks(self, settings)

    def ladder(self, settings=START, lower=True, cpu=True) -> MemoryLadder[FakeNetworks]:
        return MemoryLadder(
            self.build, settings, self.told.append, allow_lower_precision=lower, allow_cpu=cpu
        )


class FakeNetworks:
    def __init__(self, machine: Machine, settings: Settings) -> None:
        self.machine, self.settings = machine, settings
        self.can_be_sparse = machine.can_be_sparse
        self.released = False

    def release(self, kept: Any = None) -> None:
        self.released = True
        self.machine.cached = 0

    def __call__(self, size: int) -> Settings:
        now = self.settings
        for saved in (
            now.sparsity == 'always',
            now.precision == 'bfloat16',
            now.device.type == 'cpu',
        ):
            size //= 2 if saved else 1
        with enough_memory(f'{size}'):
            if size + self.machine.cached > self.machine.memory:
                raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate')
        return now


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: None)


@pytest.mark.parametrize(('size', 'steps'), [(10, 0), (20, 2), (40, 3), (80, 4)])
def test_each_step_is_taken_when_it_is_needed_told_once_and_kept(size, steps):
    machine = Machine(10)
    ladder = machine.ladder()
    for _ in range(5):
        ladder.run(lambda networks: networks(size))
    assert ladder.steps == ALL_STEPS[:steps]
    assert [line.partition('; now ')[2] for line in machine.told] == list(ALL_STEPS[:steps])
    assert all('CUDA out of memory' in line for line in machine.told)
    assert ladder.settings == Settings(
        CPU if steps == 4 else CUDA,
        'bfloat16' if steps >= 3 else 'float32',
        'always' if steps >= 2 else 'auto',
    )
    assert not ladder.exhausted


def test_freeing_caches_is_tried_first_and_is_possible_again_later():
    machine = Machine(10)
    ladder = machine.ladder()
    ladder.run(lambda networks: networks(10))
    for _ in range(2):
        machine.cached = 5
        assert ladder.run(lambda networks: networks(10)) == START
        assert ladder.steps == ALL_STEPS[:1]
        for _ in range(100):
            ladder.run(lambda networks: networks(10))
        assert ladder.steps == ()
    assert len(machine.told) == 2


@pytest.mark.parametrize(
    ('settings', 'lower', 'cpu', 'can_be_sparse', 'steps'),
    [
        (START, False, False, True, ALL_STEPS[:2]),
        (START, False, True, True, (*ALL_STEPS[:2], ALL_STEPS[3])),
        (START, False, True, False, (ALL_STEPS[0], ALL_STEPS[3])),
        (Settings(CPU, 'bfloat16', 'never'), True, True, True, ALL_STEPS[:1]),
    ],
)
def test_steps_that_are_not_allowed_or_change_nothing_are_left_out(
    settings, lower, cpu, can_be_sparse, steps
):
    machine = Machine(10, can_be_sparse)
    ladder = machine.ladder(settings, lower, cpu)
    with pytest.raises(NotEnoughMemoryError, match='CUDA out of memory'):
        ladder.run(lambda networks: networks(1000))
    assert ladder.steps == steps
    assert ladder.exhausted


def test_an_input_that_is_too_large_for_all_steps_leaves_no_trace():
    machine = Machine(10)
    ladder = machine.ladder()
    ladder.run(lambda networks: networks(10))
    with pytest.raises(NotEnoughMemoryError):
        ladder.run(lambda networks: networks(1000))
    assert not ladder.exhausted
    assert ladder.run(lambda networks: networks(10)) == START
    assert ladder.steps == ()


def test_several_in_a_row_are_no_accident():
    machine = Machine(10)
    ladder = machine.ladder()
    ladder.run(lambda networks: networks(10))
    for count in range(3):
        assert not ladder.exhausted, count
        with pytest.raises(NotEnoughMemoryError):
            ladder.run(lambda networks: networks(1000))
    assert 'CUDA out of memory' in ladder.exhausted


def test_building_networks_takes_steps_as_well():
    def build(settings: Settings) -> FakeNetworks:
        with enough_memory('the networks'):
            if settings.device.type != 'cpu':
                raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling')
        return FakeNetworks(Machine(10), settings)

    told: list[str] = []
    ladder = MemoryLadder(build, START, told.append, allow_lower_precision=False, allow_cpu=True)
    assert ladder.settings.device == CPU
    assert ladder.steps == (*ALL_STEPS[:2], ALL_STEPS[3])
    with pytest.raises(NotEnoughMemoryError):
        MemoryLadder(build, START, told.append, allow_lower_precision=False, allow_cpu=False)


def test_networks_that_turn_out_not_to_be_sparse_take_the_next_step():
    def build(settings: Settings) -> FakeNetworks:
        if settings.sparsity == 'always':
            raise TinyBevError('sparsity is always, but it is no chain')
        with enough_memory('the networks'):
            if settings.precision == 'float32':
                raise MemoryError
        return FakeNetworks(Machine(10, can_be_sparse=False), settings)

    told: list[str] = []
    ladder = MemoryLadder(build, START, told.append, allow_lower_precision=True, allow_cpu=True)
    assert ladder.settings == Settings(CUDA, 'bfloat16', 'auto')
    assert ladder.steps == (ALL_STEPS[0], ALL_STEPS[2])


def test_other_networks_are_made_beside_those_of_now_and_take_their_place():
    machine, other = Machine(10), Machine(100)
    ladder = machine.ladder()
    ladder.run(lambda networks: networks(40))
    assert ladder.settings.precision == 'bfloat16'
    old = ladder.networks
    adopt = ladder.prepare(other.build, precision='float32')
    assert ladder.networks is old
    assert not old.released
    adopt()
    assert old.released
    assert ladder.run(lambda networks: networks(90)) == Settings(CUDA, 'float32', 'always')
    assert ladder.steps == ALL_STEPS[:2]


def test_a_step_that_is_taken_meanwhile_holds_for_other_networks_as_well():
    machine, other = Machine(10), Machine(10)
    ladder = machine.ladder()
    adopt = ladder.prepare(other.build)
    ladder.run(lambda networks: networks(20))
    adopt()
    assert other.built == [START]
    wanted = Settings(CUDA, 'float32', 'always')
    assert ladder.run(lambda networks: networks(20)) == wanted
    assert other.built == [START, wanted]
    assert ladder.steps == ALL_STEPS[:2]


def test_when_there_is_no_room_for_other_networks_those_of_now_stay():
    machine = Machine(10)
    ladder = machine.ladder()

    def build(settings: Settings) -> FakeNetworks:
        raise NotEnoughMemoryError('no room')

    with pytest.raises(NotEnoughMemoryError, match='no room'):
        ladder.prepare(build)
    assert ladder.run(lambda networks: networks(10)) == START
    assert machine.built == [START]


def test_networks_that_were_released_are_built_again():
    machine = Machine(10)
    ladder = machine.ladder()
    old = ladder.networks
    ladder.release()
    assert old.released
    assert ladder.run(lambda networks: networks(10)) == START
    assert ladder.networks is not old


def test_a_real_engine_goes_on_sparse_and_right(monkeypatch):
    network = build_backbone('tiny', in_channels=4, mid_channels=4, out_channels=6).eval()
    canvas = torch.zeros(1, 4, 20, 30)
    canvas[0, :, 7, 9] = 1
    with torch.no_grad():
        wanted = network(canvas)

    def build(settings: Settings) -> NodeNetworks:
        engine = BackboneEngine(
            network, settings.device, precision=settings.precision, sparsity=settings.sparsity
        )
        return NodeNetworks(engine=engine)

    def short(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    # Dense convolutions are what memory is short for.
    monkeypatch.setattr('tiny_bev_ros.engine.dense.DensePath.__call__', short)
    told: list[str] = []
    ladder = MemoryLadder(
        build,
        Settings(CPU, 'float32', 'auto'),
        told.append,
        allow_lower_precision=False,
        allow_cpu=True,
    )
    features = ladder.run(lambda networks: networks.engine(canvas).clone())
    assert (features - wanted).abs().max() < 1e-5
    assert ladder.steps == ALL_STEPS[:2]
    assert len(told) == 2


def test_a_lack_of_memory_is_one_line():
    for lack in (lambda: torch.empty(2**60), lambda: np.empty(2**60, np.uint8)):
        with (
            pytest.raises(NotEnoughMemoryError, match='not enough memory for a giant'),
            enough_memory('a giant'),
        ):
            lack()


@pytest.mark.parametrize('text', ['mat1 and mat2', 'an illegal memory access was encountered'])
def test_another_error_of_pytorch_stays_what_it_is(text):
    with pytest.raises(RuntimeError, match=text), enough_memory('nothing'):
        raise RuntimeError(text)


def test_a_budget_means_nothing_on_the_cpu():
    limit_device_memory(CPU, 1)
    assert device_memory_mb(CPU) == 0


def test_a_budget_becomes_a_share_of_the_device(monkeypatch):
    shares = []
    properties = type('Properties', (), {'total_memory': 4096 * 2**20})
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: properties)
    monkeypatch.setattr(
        torch.cuda, 'set_per_process_memory_fraction', lambda share, _: shares.append(share)
    )
    limit_device_memory(CUDA, 1024)
    limit_device_memory(CUDA, 0)
    assert shares == [0.25, 1.0]
    with pytest.raises(TinyBevError, match='memory_budget_mb is 5000; expected at most 4096'):
        limit_device_memory(CUDA, 5000)


@pytest.mark.gpu
def test_a_budget_is_kept():
    limit_device_memory(CUDA, 256)
    try:
        with pytest.raises(NotEnoughMemoryError), enough_memory('a gigabyte'):
            torch.empty(2**30, dtype=torch.uint8, device=CUDA)
        assert device_memory_mb(CUDA) <= 256
    finally:
        limit_device_memory(CUDA, 0)
