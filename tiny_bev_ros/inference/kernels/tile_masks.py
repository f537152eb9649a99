# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tiles of 4x4 outputs with active sites: their masks and their list."""

from __future__ import annotations

import numpy as np

from tiny_bev_ros.inference.kernels.simd import jit
from tiny_bev_ros.inference.kernels.winograd import TILE


@jit
def mark_tiles(cells: np.ndarray, count: int, masks: np.ndarray) -> None:
    """Marks the outputs of each tile that have an active input site in their neighbourhood.

    Args:
        cells: (>= count + 1, 2) int32 [row, col] of the active input sites, from 1 on.
        count: number of active input sites.
        masks: (rows of tiles + 2, columns of tiles + 2) uint16, all 0; receives bit 4 * row + col
            of each output. Its border is outside the map.
    """
    for i in range(1, count + 1):
        for y in range(cells[i, 0] + TILE - 1, cells[i, 0] + TILE + 2):
            for x in range(cells[i, 1] + TILE - 1, cells[i, 1] + TILE + 2):
                bit = np.uint16(1 << (y % TILE * TILE + x % TILE))
                masks[y // TILE, x // TILE] |= bit


@jit
def count_tiles(masks: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """Clears the outputs outside the map; returns the numbers of tiles and sites left."""
    masks[0] = 0
    masks[-1] = 0
    masks[:, 0] = 0
    masks[:, -1] = 0
    tiles = sites = 0
    for i in range(1, masks.shape[0] - 1):
        for j in range(1, masks.shape[1] - 1):
            if masks[i, j]:
                mask = 0
                for y in range(min(TILE, height - (i - 1) * TILE)):
                    for x in range(min(TILE, width - (j - 1) * TILE)):
                        bit = masks[i, j] & (1 << (y * TILE + x))
                        mask |= bit
                        sites += bit != 0
                masks[i, j] = mask
                tiles += mask != 0
    return tiles, sites


@jit
def list_tiles(masks: np.ndarray, tiles: np.ndarray, cells: np.ndarray) -> None:
    """Lists tiles and active output sites, and clears the masks.

    Args:
        masks: masks of the tiles, from `count_tiles`.
        tiles: (tiles, 4) int32; receives first row and column, mask, and first site.
        cells: receives [row, col] of each site, from 1 on.
    """
    tile, site = 0, 1
    for i in range(1, masks.shape[0] - 1):
        for j in range(1, masks.shape[1] - 1):
            if masks[i, j]:
                tiles[tile, 0] = (i - 1) * TILE
                tiles[tile, 1] = (j - 1) * TILE
                tiles[tile, 2] = masks[i, j]
                tiles[tile, 3] = site
                tile += 1
                for bit in range(TILE * TILE):
                    if masks[i, j] & (1 << bit):
                        cells[site, 0] = (i - 1) * TILE + bit // TILE
                        cells[site, 1] = (j - 1) * TILE + bit % TILE
                        site += 1
                masks[i, j] = 0
