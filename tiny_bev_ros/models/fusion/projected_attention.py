# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""ProjectedAttention: BEV cells attend to the pixels onto which points above them project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.fusion.sampling_plan import Block, SamplingPlan, build_plan
from tiny_bev_ros.models.layers import check_divisible_by_heads
from tiny_bev_ros.models.single_entry_cache import SingleEntryCache
from tiny_bev_ros.models.tokens import camera_tokens

# Cells that are processed at once on the CPU, so that their data stay in its cache.
CPU_CELLS = 2048


class ProjectedAttention(nn.Module):
    """Cross-attention of each cell to the camera features at its projected reference points.

    As in FUTR3D (Chen et al., CVPRW 2023), with attention over the samples in place of a mean.
    Work and memory grow with the number of samples, not with cells times pixels.

    Args:
        channels: number of channels of queries and output; a multiple of ``heads``.
        camera_channels: number of channels of the camera features.
        heads: number of attention heads.
        heights: heights of the reference points above the frame's origin, in metres.

    Attributes:
        cells_at_once: number of cells that are processed at once. None, the default: 2048 on the
            CPU, for its cache; on other devices all, for few launches.

    Raises:
        TinyBevError: ``channels`` is not a multiple of ``heads``, or there are no heights.
    """

    def __init__(
        self, channels: int, camera_channels: int, heads: int, heights: tuple[float, ...]
    ) -> None:
        super().__init__()
        check_divisible_by_heads('channels', channels, heads)
        if not heights:
            raise TinyBevError('heights are empty; expected at least one, in metres')
        self.heads, self.heights = heads, heights
        self.queries = nn.Linear(channels, channels)
        # No bias: it would add the same to all logits of a query, which softmax ignores.
        self.keys = nn.Linear(camera_channels, channels, bias=False)
        self.values = nn.Linear(camera_channels, channels)
        self.height_embedding = nn.Parameter(torch.randn(len(heights), channels) * 0.02)
        self.output = nn.Linear(channels, channels)
        self.cells_at_once: int | None = None
        self._plan: SingleEntryCache[SamplingPlan] = SingleEntryCache()

    def cells(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> Tensor:
        """Returns (S,) int64 indices of the cells that attend, as ordered in `sampling_plan`."""
        return self.sampling_plan(grid, cameras, device).cell

    def forward(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """Computes the attended values of the cells of one frame.

        Args:
            queries: (S,C) of the `cells` that attend, at least one.
            grid: grid of the cells.
            features: K maps (c,h,w), one for each camera.
            cameras: K cameras of images of the size of their features; None for a missing one,
                whose features are ignored.

        Returns:
            (S,C) attended values.
        """
        plan = self.sampling_plan(grid, cameras, queries.device)
        table = camera_tokens(features, cameras)
        values = []
        for block in plan.blocks(self._block_size(plan)):
            parts = self._attention_parts(queries, plan, block, table)
            mixed = [weights.to(samples.dtype) @ samples for weights, samples in parts]
            values.append(self._project_values(torch.cat(mixed) if len(mixed) > 1 else mixed[0]))
        return self.output(torch.cat(values))

    def weights(
        self,
        queries: Tensor,
        grid: BevGrid,
        features: Sequence[Tensor],
        cameras: Sequence[Camera | None],
    ) -> Tensor:
        """Computes (M,heads) weights of the entries of the plan; arguments as of `forward`."""
        plan = self.sampling_plan(grid, cameras, queries.device)
        if not len(plan.cell):
            return queries.new_zeros(0, self.heads)
        table = camera_tokens(features, cameras)
        blocks = plan.blocks(self._block_size(plan))
        parts = [
            part for each in blocks for part in self._attention_parts(queries, plan, each, table)
        ]
        return torch.cat([weights.transpose(1, 2).flatten(0, 1) for weights, _ in parts])

    def sampling_plan(
        self, grid: BevGrid, cameras: Sequence[Camera | None], device: torch.device
    ) -> SamplingPlan:
        """Returns the samples for each cell; cached for the same grid, cameras and device."""
        key = (grid, device, *(camera and camera.key() for camera in cameras))
        return self._plan.get(key, lambda: build_plan(grid, self.heights, cameras, device))

    def _block_size(self, plan: SamplingPlan) -> int:
        on_cpu = plan.cell.device.type == 'cpu'
        return self.cells_at_once or (CPU_CELLS if on_cpu else max(1, len(plan.cell)))

    def _attention_parts(
        self, queries: Tensor, plan: SamplingPlan, block: Block, table: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields weights (S,heads,E) and samples (S,E,c) of each group of a block.

        The key projection is folded into the query: one matrix product for each cell in place of
        one for each entry.
        """
        split = self.queries(queries[block.cells]).unflatten(1, (self.heads, -1)).transpose(0, 1)
        feature_query = (split @ self.keys.weight.unflatten(0, (self.heads, -1))).transpose(0, 1)
        embedding = self.height_embedding.unflatten(1, (self.heads, -1)).permute(1, 2, 0)
        height_logits = (split @ embedding).transpose(0, 1)
        samples = _sample(table, plan, block.entries).to(feature_query.dtype)
        cells = [count for count, _ in block.groups]
        entries = [count * per_cell for count, per_cell in block.groups]
        parts = zip(
            feature_query.split(cells),
            height_logits.split(cells),
            samples.split(entries),
            plan.height[block.entries].split(entries),
            strict=True,
        )
        for (count, _), (query, height_logit, sample, height) in zip(
            block.groups, parts, strict=True
        ):
            index = height.view(count, 1, -1).expand(-1, self.heads, -1)
            group_samples = sample.unflatten(0, (count, -1))
            bias = height_logit.gather(2, index)
            yield _weights(query, bias, group_samples, split.shape[2]), group_samples

    def _project_values(self, mixed: Tensor) -> Tensor:
        """Projects weighted sums of samples (S,heads,c), one for each head, to values (S,C)."""
        weight = self.values.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)
        return (mixed.transpose(0, 1) @ weight).transpose(0, 1).flatten(1) + self.values.bias


def _weights(queries: Tensor, bias: Tensor, samples: Tensor, head_channels: int) -> Tensor:
    """Computes (S,heads,E) weights of queries (S,heads,c) for samples (S,E,c), with a bias."""
    scale = head_channels**-0.5
    logits = torch.baddbmm(bias, queries, samples.transpose(1, 2), beta=scale, alpha=scale)
    # At least float32, as half precision is too coarse for sums of many exponentials.
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(2)


def _sample(table: Tensor, plan: SamplingPlan, entries: slice) -> Tensor:
    """Interpolates features (M,c) between rows of the table."""
    weights = plan.corner_weights[entries].to(table.dtype)
    return embedding_bag(plan.corner[entries], table, per_sample_weights=weights, mode='sum')
