# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Winograd layer on tiles of 4x4 outputs: results, active sites, transforms."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import numpy as np
import pytest
import torch

from tiny_bev_ros.inference.kernels import winograd
from tiny_bev_ros.inference.sparse.active_sites import ActiveSites
from tiny_bev_ros.inference.sparse.background import backgrounds
from tiny_bev_ros.inference.sparse.direct_layer import DirectLayer
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.tile_layer import TileLayer


def sites(
    shape: tuple[int, int], fraction: float, channels: int, dtype: torch.dtype
) -> ActiveSites:
    random = np.random.default_rng(0)
    rows, cols = np.nonzero(random.random(shape) < fraction)
    found = ActiveSites(channels, dtype)
    found.resize(len(rows))
    found.cells[1 : len(rows) + 1] = np.stack([rows, cols], 1)
    values = torch.from_numpy(random.normal(size=(len(rows), channels)).astype(np.float32))
    found.rows[1 : len(rows) + 1, :channels] = values
    return found


@pytest.mark.parametrize('shape', [(1, 1), (3, 9), (4, 4), (8, 12), (37, 41)])
@pytest.mark.parametrize('fraction', [0.0, 0.03, 0.4, 1.0])
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 2e-6), (torch.bfloat16, 4e-2)], ids=str
)
@torch.no_grad()
def test_a_layer_is_the_convolution(
    shape: tuple[int, int], fraction: float, dtype: torch.dtype, tolerance: float
):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20, 18, 3, 3, generator=generator) / 13
    layer = ConvLayer(weight, torch.randn(20, generator=generator), 1, relu=True)
    (background,) = backgrounds((layer,), shape)
    tiled = TileLayer(layer, background, shape, dtype, torch.float32)
    given = sites(shape, fraction, 18, dtype)
    blocks = tiled.find(given)

    def run(work, blocks):
        for block in blocks:
            work(block)

    tiled.compute(given, blocks, run)
    found = tiled.sites
    canvas = torch.zeros(1, 18, *shape)
    at = given.cells[1 : given.count + 1]
    canvas[0, :, at[:, 0], at[:, 1]] = given.rows[1 : given.count + 1, :18].t().float()
    wanted = layer(canvas)[0]
    got = torch.from_numpy(background.full())
    at = found.cells[1 : found.count + 1]
    got[:, at[:, 0], at[:, 1]] = found.rows[1 : found.count + 1, :20].t()
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()
    # A site is active if a cell of its neighbourhood is; each is listed once.
    near = torch.nn.functional.max_pool2d((canvas != 0).any(1).float(), 3, 1, 1)[0]
    expected = set(map(tuple, near.nonzero().tolist()))
    assert set(map(tuple, at.tolist())) == expected
    assert found.count == len(expected)
    assert tiled.macs(blocks) == len({(y // 4, x // 4) for y, x in expected}) * 36 * 32 * 32


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 2e-6), (torch.bfloat16, 4e-2)], ids=str
)
@torch.no_grad()
def test_tiles_and_the_direct_way_agree(dtype: torch.dtype, tolerance: float):
    shape = (37, 41)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 16, 3, 3, generator=generator) / 12
    layer = ConvLayer(weight, torch.randn(32, generator=generator), 1, relu=True)
    (background,) = backgrounds((layer,), shape)
    given = sites(shape, 0.2, 16, dtype)
    maps = []
    for kind in (TileLayer, DirectLayer):
        computed = kind(layer, background, shape, dtype, dtype)
        blocks = computed.find(given)
        computed.compute(given, blocks, lambda work, blocks: [work(each) for each in blocks])
        full = torch.from_numpy(background.full()).to(dtype)
        at = computed.sites.cells[1 : computed.sites.count + 1]
        full[:, at[:, 0], at[:, 1]] = computed.sites.rows[1 : computed.sites.count + 1, :32].t()
        maps.append(full)
    assert maps[0].dtype == dtype
    assert (maps[0] - maps[1]).abs().max() <= tolerance * maps[1].abs().max()


def test_the_points_are_exact_in_binary():
    assert np.float32(winograd.A**3) == winograd.A**3
    assert np.float32(winograd.A**2 * winograd.B**2) == winograd.A**2 * winograd.B**2


def test_transformed_weights_of_a_constant():
    # At infinity only the last tap counts; at 0 only the first, over A^2 B^2.
    wide = winograd.transform_weight(np.ones((1, 1, 3, 3))).reshape(6, 6)
    assert wide[5, 5] == 1
    assert wide[0, 0] == pytest.approx(1 / (winograd.A * winograd.B) ** 4)
