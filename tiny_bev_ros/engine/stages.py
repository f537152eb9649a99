# SPDX-License-Identifier: Apache-2.0
"""The two stages from points to features, as nodes, scripts and tests call them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import PillarFeatureNet, scatter


class PillarStage:
    """Points to a dense pseudo-image.

    Args:
        pfn: the pillar feature net; is put into eval mode on ``device``.
        grid: where the canvas lies.
        device: where it is computed.
    """

    def __init__(self, pfn: PillarFeatureNet, grid: BevGrid, device: torch.device) -> None:
        self.pfn = pfn.to(device).eval()
        self.grid = grid
        self.device = device

    @torch.inference_mode()
    def __call__(self, points: np.ndarray) -> torch.Tensor:
        """Points (N,4) or (N,5) float32 [x,y,z,intensity(,time)] to (1,C,H,W) float32.

        Raises:
            TinyBevError: the points are not those of the network, or memory is short.
        """
        if not points.flags.writeable:  # a view of received bytes; PyTorch takes none
            points = points.copy()
        with _enough_memory(f'{len(points)} points'):
            features, cells = self.pfn(torch.from_numpy(points).to(self.device), self.grid)
            return scatter(features, cells, self.grid.shape)


class BackboneStage:
    """A pseudo-image to features, by any backbone of the registry.

    Args:
        backbone: is put into eval mode on ``device``.
        device: where it is computed.
    """

    def __init__(self, backbone: torch.nn.Module, device: torch.device) -> None:
        self.backbone = backbone.to(device).eval()
        self.device = device
        described: Any = backbone  # by the attributes that the registry asks for
        self.stride: int = described.feature_info[-1].stride
        self.channels: int = described.feature_info[-1].channels
        self.in_channels: int = described.in_channels

    @torch.inference_mode()
    def __call__(self, pseudo_image: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) of any float dtype, on any device, to (B,C_out,h,w) float32.

        Raises:
            TinyBevError: the channels are not those of the backbone, or memory is short.
        """
        channels = pseudo_image.shape[1]
        if channels != self.in_channels:
            raise TinyBevError(
                f'channel size is {channels}; expected {self.in_channels}, as the backbone has'
            )
        with _enough_memory(f'a pseudo-image of {tuple(pseudo_image.shape)}'):
            return self.backbone(pseudo_image.to(self.device, torch.float32))


@contextmanager
def _enough_memory(what: str) -> Iterator[None]:
    """Makes one line of PyTorch's out of memory: one large input must not end a node."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On the CPU it is a plain RuntimeError of the allocator.
        if not isinstance(error, MemoryError) and 'memory' not in str(error):
            raise
        reason = str(error).strip().partition('\n')[0]
        raise TinyBevError(f'there is not enough memory for {what}: {reason}') from None
