# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pillars that do not fit a map are refused, as a kernel would silently write beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.numba_support import numba_unavailable_reason
from tiny_bev_ros.inference.sparse import sparse_path
from tiny_bev_ros.models import build_backbone, scatter
from tiny_bev_ros.models.heads.head_registry import build_heads

CPU = torch.device('cpu')
SHAPE = (20, 30)
FEATURES = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
CELLS = torch.tensor([[0, 0], [7, 9], [19, 29]])
WHY_NO_NUMBA = numba_unavailable_reason()
WRONG: list[tuple[Any, Any, Any, str]] = [
    (FEATURES, [[0, 0], [7, 9], [20, 29]], SHAPE, 'pillar 2 is row 20, column 29; expected'),
    (FEATURES, [[0, 0], [7, 30], [19, 29]], SHAPE, 'pillar 1 is row 7, column 30; expected'),
    (FEATURES, [[0, -1], [7, 9], [19, 29]], SHAPE, 'pillar 0 is row 0, column -1; expected'),
    (FEATURES, [[0, 0], [-2, 9], [19, 29]], SHAPE, 'pillar 1 is row -2, column 9; expected'),
    (FEATURES, [[0, 0], [2**62, 9], [19, 29]], SHAPE, f'row {2**62}, column 9; expected'),
    (FEATURES, [[7, 9], [0, 0], [7, 9]], SHAPE, 'row 7, column 9 has more than one pillar'),
    (FEATURES, [[0, 0]] * 5, SHAPE, r'\(3, 4\) and cells \(5, 2\); expected \(P, C\)'),
    (FEATURES, [0, 7, 19], SHAPE, r'cells \(3,\); expected'),
    (FEATURES, [[0, 0, 0]] * 3, SHAPE, r'cells \(3, 3\); expected'),
    (FEATURES[0], [[0, 0]] * 4, SHAPE, r'features are \(4,\) and cells'),
    (FEATURES, [[0.0, 0.0], [7.0, 9.0], [1.0, 2.0]], SHAPE, 'cells are torch.float32; expected'),
    (FEATURES.int(), CELLS.tolist(), SHAPE, 'features are torch.int32; expected'),
    (FEATURES, CELLS.tolist(), (20,), r'shape of the map is \(20,\); expected'),
    (FEATURES, CELLS.tolist(), (0, 30), r'shape of the map is \(0, 30\); expected'),
    (FEATURES, CELLS.tolist(), (20.0, 30.0), r'shape of the map is \(20.0, 30.0\); expected'),
    (FEATURES, CELLS.tolist(), (2**13, 2**12), 'shape of the map is'),
]


def engine(**options: Any) -> BackboneRunner:
    network = build_backbone('tiny', in_channels=4, mid_channels=4, out_channels=6)
    return BackboneRunner(network.eval(), CPU, **options)


@pytest.mark.parametrize(('features', 'cells', 'shape', 'reason'), WRONG)
@pytest.mark.parametrize('way', ['numba', 'torch', 'dense', 'canvas'])
def test_each_is_refused_in_one_line(
    monkeypatch, way: str, features: Any, cells: Any, shape: Any, reason: str
):
    if way == 'numba' and WHY_NO_NUMBA:
        pytest.skip(WHY_NO_NUMBA)
    if way != 'numba':
        monkeypatch.setattr(sparse_path, 'numba_unavailable_reason', lambda: 'not wanted here')
    sparsity = 'never' if way == 'dense' else 'always'
    take = scatter if way == 'canvas' else engine(sparsity=sparsity).from_pillars
    with pytest.raises(TinyBevError, match=reason) as refusal:
        take(features, torch.tensor(cells), shape)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_right_ones_are_taken_in_any_order(dtype: torch.dtype):
    made = engine(sparsity='always')
    wanted = made(scatter(FEATURES, CELLS, SHAPE)).clone()
    order = torch.tensor([2, 0, 1])
    got = made.from_pillars(FEATURES[order], CELLS[order].to(dtype), SHAPE)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert made.from_pillars(FEATURES[:0], CELLS[:0], SHAPE).shape == wanted.shape


@pytest.mark.parametrize(
    'wrong',
    [torch.zeros(4, 20, 30), torch.zeros(0, 4, 20, 30), torch.zeros(1, 4, 0, 30)],
)
def test_other_shapes_than_a_pseudo_image_are_refused(wrong: torch.Tensor):
    with pytest.raises(TinyBevError, match='pseudo-image has shape'):
        engine()(wrong)
    with pytest.raises(TinyBevError, match=r'pseudo-image is torch\.int64; expected a float'):
        engine()(torch.zeros(1, 4, 20, 30, dtype=torch.int64))


@pytest.mark.parametrize('shape', [(64, 10, 12), (0, 64, 10, 12), (1, 64, 10, 13)])
def test_features_that_do_not_lie_on_the_grid_are_refused_by_every_head(shape: tuple[int, ...]):
    grid = BevGrid((0, 12), (0, 10), (-3, 1), 1)
    for name in ('detection', 'drivable'):
        heads = HeadRunner(dict(build_heads((name,), 64).eval().items()), CPU)
        with pytest.raises(TinyBevError, match='features have shape'):
            heads(torch.zeros(shape), grid, (0.5, 0.5, 0.5))
