# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pillars far above the others, or not finite: they change their receptive field alone."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest
import torch
from shaken_networks import shaken
from torch import Tensor, nn

from tiny_bev_ros.inference import precision as precision_module
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.kernels import hot_tiles
from tiny_bev_ros.models import build_backbone, seeded

CPU = torch.device('cpu')
SHAPE = (64, 72)
HOT = (30, 41)


def _network(name: str) -> nn.Module:
    with seeded(3):
        return shaken(build_backbone(name, in_channels=16))


def _canvas(value: float) -> Tensor:
    """Returns a pseudo-image of pillars of about 1, and one pillar of a value."""
    random = np.random.default_rng(0)
    canvas = torch.from_numpy(random.normal(size=(1, 16, *SHAPE)).astype(np.float32))
    canvas *= torch.from_numpy(random.random(SHAPE) < 0.1)
    canvas[0, :, HOT[0], HOT[1]] = value
    return canvas


def _dense(network: nn.Module, canvas: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network.double()(canvas.double())
    network.float()
    return result


@pytest.mark.parametrize('name', ['tiny', 'deep'])
@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 0.05)], ids=str)
def test_hot_pillar_leaves_other_cells_at_their_values(
    monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, tolerance: float
) -> None:
    monkeypatch.setattr(precision_module, 'reason_for_float32', lambda _: '')
    network = _network(name)
    expected, without = (_dense(network, _canvas(value)) for value in (1e6, 1.0))
    outside = (expected == without).all(1)[0]
    assert 0 < (~outside).sum() < outside.sum()
    runner = BackboneRunner(network, CPU, precision=dtype, sparsity='always', threads=1)
    error = (runner(_canvas(1e6)) - expected)[..., outside].abs()
    assert error.max() <= tolerance * without[..., outside].abs().max()


@pytest.mark.parametrize('name', ['tiny', 'deep'])
def test_nan_reaches_its_receptive_field_as_in_the_dense_network(name: str) -> None:
    network = _network(name)
    expected = _dense(network, _canvas(float('nan')))
    runner = BackboneRunner(network, CPU, sparsity='always', threads=1)
    result = runner(_canvas(float('nan'))).clone()
    assert torch.equal(result.isnan(), expected.isnan())
    assert 0 < int(expected.isnan().any(1).sum()) < expected[0, 0].numel()
    torch.testing.assert_close(
        result.double(),
        expected,
        rtol=0,
        atol=1e-5 * expected.nan_to_num().abs().max(),
        equal_nan=True,
    )
    healthy = _canvas(1.0)
    difference = (runner(healthy) - _dense(network, healthy)).abs().max()
    assert difference <= 1e-5 * expected.nan_to_num().abs().max(), 'NaN stays in no buffer'


def test_warm_up_compiles_the_kernel_of_hot_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, called = hot_tiles.compute_sites, []
    monkeypatch.setattr(
        hot_tiles, 'compute_sites', lambda *each: called.append(1) or kernel(*each)
    )
    runner = BackboneRunner(_network('tiny'), CPU, sparsity='always', threads=1)
    runner.warm_up(SHAPE)
    assert called
    canvas = _canvas(1.0)
    error = (runner(canvas) - _dense(_network('tiny'), canvas)).abs().max()
    assert error <= 1e-5 * runner(canvas).abs().max()
