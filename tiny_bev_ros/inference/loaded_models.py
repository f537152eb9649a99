# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks with their weights, before they are prepared for a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, load_weights_with_digest
from tiny_bev_ros.models.fusion.futr import FuTrFusion
from tiny_bev_ros.models.heads.head_registry import BoxHead, box_head, map_heads
from tiny_bev_ros.models.pfn import PillarFeatureNet


@dataclass(frozen=True)
class LoadedModels:
    """Networks in eval mode on the CPU, any of which may be missing.

    Attributes:
        pfn: pillar feature net.
        backbone: backbone of the registry.
        heads: heads by name, the second stage among them if there is one.
        camera: camera encoder.
        fusion: fusion of BEV features with camera features.
        grid: grid of the pillars; None without a pillar feature net.
        digests: SHA-256 of the weight file of each network, by the names of the attributes
            above; 'random, seed N' for random weights, 'none' for a fusion that returns its BEV
            input.
        metadata: description of the one file of `train` that holds all networks; None without.
        exported_network: file of `export` that runs in place of the backbone, or of backbone and
            heads; None for none.
    """

    pfn: PillarFeatureNet | None = None
    backbone: nn.Module | None = None
    heads: nn.ModuleDict | None = None
    camera: CameraEncoder | None = None
    fusion: FuTrFusion | None = None
    grid: BevGrid | None = None
    digests: dict[str, str] = field(default_factory=dict)
    metadata: CheckpointMetadata | None = None
    exported_network: Path | None = None

    @property
    def refinement(self) -> BoxHead | None:
        """The second stage among the heads; None without one."""
        return None if self.heads is None else box_head(self.heads)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        x_range: tuple[float, float] | None = None,
        y_range: tuple[float, float] | None = None,
        grid: BevGrid | None = None,
        *,
        refine_boxes: bool = True,
        exported_network: str | Path = '',
    ) -> LoadedModels:
        """Loads pillar feature net, backbone and heads from one file of `train`.

        Args:
            path: weight file.
            x_range: forward extent of the grid, in metres; None for 256 cells ahead.
            y_range: leftward extent of the grid, in metres; None for 128 cells to either side.
            grid: the grid itself, in place of its extents.
            refine_boxes: keeps the second stage, if the file has one.
            exported_network: file of `export` for the same weights; '' for none.

        Raises:
            TinyBevError: the file cannot be read, has no metadata of a network or does not fit
                it; both a grid and extents are given; or the grid has another resolution or
                z_range than in training.
        """
        network, metadata, digest = load_weights_with_digest(path)
        if grid is None:
            default_x, default_y = metadata.default_ranges
            grid = metadata.grid(x_range or default_x, y_range or default_y)
        elif x_range is not None or y_range is not None:
            raise TinyBevError('grid is given with x_range or y_range; expected one of the two')
        elif (grid.resolution, grid.z_range) != (metadata.cell, metadata.z_range):
            raise TinyBevError(
                f'grid has cells of {grid.resolution:g} m and z_range {list(grid.z_range)}; '
                f'expected {metadata.cell:g} and {list(metadata.z_range)}, as in {path}'
            )
        heads = network.heads if refine_boxes else nn.ModuleDict(map_heads(network.heads))
        return cls(
            network.pfn,
            network.backbone,
            heads,
            grid=grid,
            digests=dict.fromkeys(('pfn', 'backbone', 'heads'), digest),
            metadata=metadata,
            exported_network=Path(exported_network).expanduser() if exported_network else None,
        )
