# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Inputs and networks of the GPU check: simulated clouds, shipped and random weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.engine.benchmark_inputs import CPU, pillar_feature_net, simulated, trained_like
from benchmarks.gpu.check_section import CheckSettings
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference import backbone_paths, cuda_graph
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.inference.sparse.torch_chain import TorchChain
from tiny_bev_ros.models import build_backbone, seeded
from tiny_bev_ros.resources import WEIGHTS, weights_file

# All around the sensor with the cells of the shipped weights: 496 x 432 cells.
GRID = BevGrid((-43.2, 43.2), (-49.6, 49.6), (-3.0, 2.0), 0.2)
PRECISIONS = ('float32', 'bfloat16', 'float16')
Pillars = tuple[Tensor, Tensor]


def simulated_clouds() -> tuple[np.ndarray, ...]:
    """Simulates two sweeps of a street, (N,4) float32 each."""
    return simulated(0), simulated(1)


def shipped_models(settings: CheckSettings) -> LoadedModels:
    """Loads the shipped weights for the grid of the check."""
    return LoadedModels.from_file(weights_file(WEIGHTS[0]), grid=settings.grid)


def shipped_runner(
    settings: CheckSettings,
    device: torch.device,
    precision: str = 'float32',
    sparsity: str = 'auto',
) -> ModelRunner:
    """Builds a warm runner of the shipped weights."""
    models = shipped_models(settings)
    return build_runner(
        models, ExecutionConfig(device, precision, sparsity), shape=settings.grid.shape
    )


def random_backbone(name: str, settings: CheckSettings) -> nn.Module:
    """Builds a backbone with random weights, equal in each call, in eval mode on the CPU.

    Convolutions keep the variance of their input (He et al., ICCV 2015): with PyTorch's default
    the features of a deep backbone hardly depend on the pillars, and no comparison could fail.
    """
    with seeded(0):
        network = build_backbone(name, **settings.widths)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
    return trained_like(network)


def random_pillars(settings: CheckSettings, channels: int) -> list[Pillars]:
    """Encodes each cloud on the CPU, by a net with random weights; keeps some channels."""
    runner = PillarRunner(pillar_feature_net(), settings.grid, CPU)
    encoded = [runner.pillars(cloud) for cloud in settings.clouds]
    return [(features[:, :channels].clone(), cells.clone()) for features, cells in encoded]


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Returns the largest difference over the largest magnitude."""
    difference = (found.cpu().double() - wanted.double()).abs().max()
    return float(difference / wanted.double().abs().max())


@contextmanager
def without_graphs() -> Iterator[None]:
    """Context manager: launches cannot be recorded as a CUDA graph."""

    def refuse(*_: object) -> None:
        raise RuntimeError('recording is switched off')

    with patch.object(cuda_graph, 'cuda_graph', refuse), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='no CUDA graph')
        yield


@contextmanager
def sparse_chains(*, pytorch: bool = False) -> Iterator[set[str]]:
    """Context manager: yields the names of the classes of the sparse chains that runners build.

    Args:
        pytorch: builds the chain of PyTorch's operations in place of the one that is chosen.
    """
    built: set[str] = set()
    choose = backbone_paths.make_chain

    def make_chain(
        layers: Any, shape: Any, dtype: Any, device: Any, *rest: Any, **more: Any
    ) -> Any:
        with torch.inference_mode(False):
            chain: Any = (
                TorchChain(layers, shape, dtype, device)
                if pytorch
                else choose(layers, shape, dtype, device, *rest, **more)
            )
        built.add(type(chain).__name__)
        return chain

    with patch.object(backbone_paths, 'make_chain', make_chain):
        yield built
