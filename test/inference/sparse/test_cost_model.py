# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from tiny_bev_ros.inference.sparse import cost_model
from tiny_bev_ros.inference.sparse.cost_model import (
    CostModel,
    measure,
    median_seconds,
    trial_pillars,
)

CPU = torch.device('cpu')
SHAPE = (100, 120)


class Sparse:
    """Does as many multiplications as it is given features."""

    def find(self, cells: torch.Tensor) -> int:
        self.macs = len(cells) * 6
        return self.macs

    def compute(self, features: torch.Tensor) -> None:
        assert features.shape == (self.macs // 6, 6)


def costs(monkeypatch, seconds: list[float], shape: tuple[int, int] = SHAPE) -> CostModel:
    monkeypatch.setattr(cost_model, 'median_seconds', lambda *_: seconds)
    return measure(Sparse(), lambda canvas: canvas, 6, shape, CPU)


def test_the_line_goes_through_both_measured_points(monkeypatch):
    few, many = (6 * len(trial_pillars(share, 6, SHAPE, CPU)[0]) for share in (0.002, 0.03))
    assert 0 < few < many
    found = costs(monkeypatch, [0.003, 0.004, 0.005])
    assert found.fixed_seconds + few * found.seconds_per_mac == pytest.approx(0.003)
    assert found.fixed_seconds + many * found.seconds_per_mac == pytest.approx(0.004)
    assert found.dense_seconds == 0.005


@pytest.mark.parametrize(
    ('seconds', 'shape'),
    [
        ([0.004, 0.003, 0.005], SHAPE),  # the larger map was quicker, by chance
        ([0.003, 0.003, 0.005], SHAPE),
        ([0.001, 0.1, 0.005], SHAPE),  # the line would begin below zero
        ([0.003, 0.004, 0.005], (1, 1)),  # both maps are empty
    ],
)
def test_costs_are_positive_and_finite_whatever_is_measured(
    monkeypatch, seconds: list[float], shape: tuple[int, int]
):
    found = costs(monkeypatch, seconds, shape)
    for value in (found.fixed_seconds, found.seconds_per_mac, found.dense_seconds):
        assert math.isfinite(value)
        assert value > 0


def test_the_cheaper_path():
    costs = CostModel(fixed_seconds=1.0, seconds_per_mac=0.5, dense_seconds=3.0)
    assert costs.sparse_is_cheaper(0)
    assert costs.sparse_is_cheaper(4)
    assert not costs.sparse_is_cheaper(5)
    assert not CostModel(2.0, 0.5, 1.0).sparse_is_cheaper(0)


def test_trial_maps_are_the_same_each_time():
    features, cells = trial_pillars(0.1, 6, SHAPE, CPU)
    assert features.shape == (len(cells), 6)
    assert 0.08 < len(cells) / 12000 < 0.12
    assert len(torch.unique(cells, dim=0)) == len(cells)
    assert torch.equal(cells, trial_pillars(0.1, 6, SHAPE, CPU)[1])


def test_works_are_timed_in_turn_and_the_first_round_does_not_count(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(cost_model.time, 'perf_counter', lambda: now[0])

    def work(name: str, seconds: list[float]) -> None:
        order.append(name)
        now[0] += seconds.pop(0)

    a, b = [100.0, 1.0, 9.0, 2.0], [100.0, 5.0, 4.0, 6.0]
    found = median_seconds([lambda: work('a', a), lambda: work('b', b)], CPU)
    assert found == [2.0, 5.0]
    assert ''.join(order) == 'abababab'
