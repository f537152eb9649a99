# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Backbone `tiny` in half precision beside the plain network on cuDNN and in TensorRT."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.backbone_parity import TOLERANCES
from benchmarks.gpu.check_inputs import random_backbone, random_pillars, relative_error
from benchmarks.gpu.check_section import CheckSettings, SectionResult, add_failure
from benchmarks.gpu.stage_times import percentiles
from benchmarks.gpu.tensorrt_peer import tensorrt_engine
from benchmarks.tables import as_table
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.cuda_graph import cuda_graph
from tiny_bev_ros.inference.device_timer import StageTimer
from tiny_bev_ros.models import scatter

CUDNN, CUDNN_GRAPH = 'PyTorch on cuDNN', 'PyTorch on cuDNN, with graph'
TENSORRT = 'TensorRT'
_OURS = {'tiny_bev_ros, dense': 'never', 'tiny_bev_ros, sparse': 'always'}
_TOLERANCE = TOLERANCES['float16']
_WARM_UP = 3


@torch.inference_mode()
def compare_peers(settings: CheckSettings) -> SectionResult:
    """Times each contender in turn on the pillars of one cloud, all in float16."""
    result = SectionResult()
    network = random_backbone('tiny', settings)
    found: Any = network
    pillars = random_pillars(settings, found.in_channels)[0]
    dense = scatter(*pillars, settings.grid.shape)
    wanted = network(dense)
    contenders: dict[str, Callable[[], Tensor]] = {}
    rows, skipped = [], ''
    with _fastest_algorithms():
        for name, build in _builders(network, dense, settings).items():
            try:
                contenders[name] = build()
                error = relative_error(contenders[name](), wanted)
            except ModuleNotFoundError as missing:
                skipped = f'\n\n{name} is left out: {missing}'
                continue
            except Exception as failure:
                contenders.pop(name, None)
                add_failure(result, name, failure, settings.device)
                continue
            if not error <= _TOLERANCE:
                result.failures.append(
                    f'{name}: error is {error:.1e}; expected at most {_TOLERANCE:g}'
                )
        for name, ms in _times(contenders, settings).items():
            rows.append([name, percentiles(ms)])
            if name in (CUDNN_GRAPH, TENSORRT):
                result.figures[name] = percentiles(ms)
    result.text = (
        'Network tiny, float16, p50 / p95 in ms by events on the device, contenders in turn. The '
        'peers get the pseudo-image, in float16 and channels_last (TensorRT: contiguous); '
        'tiny_bev_ros gets pillars.\n\n' + as_table(['', 'ms'], rows) + skipped
    )
    return result


def _builders(
    network: nn.Module, dense: Tensor, settings: CheckSettings
) -> dict[str, Callable[[], Callable[[], Tensor]]]:
    """Returns by contender a function that builds it; a contender returns features."""
    return {
        CUDNN: partial(_on_cudnn, network, dense, settings),
        CUDNN_GRAPH: partial(_with_graph, network, dense, settings),
        TENSORRT: partial(tensorrt_engine, network, dense, settings),
        **{name: partial(_ours, network, sparsity, settings) for name, sparsity in _OURS.items()},
    }


def _on_cudnn(network: nn.Module, dense: Tensor, settings: CheckSettings) -> Callable[[], Tensor]:
    layout = torch.channels_last
    half: Any = copy.deepcopy(network).half().to(settings.device)
    half = half.to(memory_format=layout)
    x = dense.half().to(settings.device).contiguous(memory_format=layout)
    return partial(half, x)


def _with_graph(
    network: nn.Module, dense: Tensor, settings: CheckSettings
) -> Callable[[], Tensor]:
    replay, features = cuda_graph(settings.device, _on_cudnn(network, dense, settings))

    def run() -> Tensor:
        replay()
        return features

    return run


def _ours(network: nn.Module, sparsity: str, settings: CheckSettings) -> Callable[[], Tensor]:
    runner = BackboneRunner(
        copy.deepcopy(network), settings.device, precision='float16', sparsity=sparsity
    )
    features, cells = random_pillars(settings, runner.in_channels)[0]
    shape = settings.grid.shape
    runner.warm_up(shape)
    on_device = features.to(settings.device), cells.to(settings.device)
    return partial(runner.from_checked, *on_device, shape)


def _times(
    contenders: dict[str, Callable[[], Tensor]], settings: CheckSettings
) -> dict[str, list[float]]:
    ms: dict[str, list[float]] = defaultdict(list)
    for number in range(_WARM_UP + settings.frames):
        for name, run in contenders.items():
            timer = StageTimer(settings.device)
            run()
            timer.lap(name)
            seconds = timer.seconds()[name]
            if number >= _WARM_UP:
                ms[name].append(seconds * 1e3)
    return ms


@contextmanager
def _fastest_algorithms() -> Iterator[None]:
    """Context manager: cuDNN times its algorithms and takes the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
