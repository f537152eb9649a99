# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training by several processes, as torchrun starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class DistributedContext:
    """Position of this process among those that train together, and its device.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
        device: device on which this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True for the one process that logs and writes files."""
        return self.rank == 0


def init_distributed(device: torch.device | None = None) -> DistributedContext:
    """Joins the processes that torchrun started, or makes the context of a lone process.

    Reads RANK, WORLD_SIZE and LOCAL_RANK from the environment. With several processes it opens
    PyTorch's default process group, by NCCL on GPUs and by Gloo elsewhere.

    Args:
        device: device to compute on; by default the GPU of this process, or the CPU.
    """
    rank, world_size = int(os.environ.get('RANK', '0')), int(os.environ.get('WORLD_SIZE', '1'))
    if device is None:
        device = torch.device('cpu')
        if torch.cuda.is_available():
            device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', '0')))
            torch.cuda.set_device(device)
    if world_size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    return DistributedContext(rank, world_size, device)
