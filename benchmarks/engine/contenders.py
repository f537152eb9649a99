# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Contenders of the benchmark: functions from a pseudo-image to features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine.benchmark_inputs import CPU
from benchmarks.engine.peers import (
    Contender,
    OnnxRuntime,
    PointPillarsBackbone,
    compiled,
)
from benchmarks.timing import interleaved
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.optional_imports import one_line

POINTPILLARS = 'PointPillars backbone (OpenPCDet, mmdetection3d)'
# Largest time of a contender relative to the first: a precision without CPU instructions would
# take most of the benchmark's time.
_TOO_SLOW = 2.0
_ENGINES = {
    'folded float32': ('float32', 'never'),
    'folded bfloat16': ('bfloat16', 'never'),
    'engine float32': ('float32', 'always'),
    'engine bfloat16': ('bfloat16', 'always'),
    'engine float16': ('float16', 'always'),
    'engine auto float32': ('float32', 'auto'),
    'engine auto bfloat16': ('bfloat16', 'auto'),
}


def builders(
    network: nn.Module, shape: tuple[int, int], threads: int, models: Path
) -> dict[str, Callable[[], Contender]]:
    """Returns a function per contender that builds it, by name; the eager network first.

    Args:
        network: backbone in eval mode.
        shape: (H,W) of the pseudo-images.
        threads: number of threads of each contender.
        models: folder with the files of `benchmarks.engine.peers.export_onnx`, if any.
    """

    def engine(precision: str, sparsity: str) -> Contender:
        runner = BackboneRunner(
            network, CPU, precision=precision, sparsity=sparsity, threads=threads
        )
        runner.warm_up(shape)
        return runner

    return {
        'eager': lambda: network,
        'torch.compile': partial(compiled, network, threads),
        **{
            f'ONNX Runtime {path.stem}': partial(OnnxRuntime, path, threads)
            for path in (models / 'float32.onnx', models / 'int8.onnx')
            if path.exists()
        },
        POINTPILLARS: lambda: PointPillarsBackbone().eval(),
        **{name: partial(engine, *options) for name, options in _ENGINES.items()},
    }


def build(
    makers: dict[str, Callable[[], Contender]], example: Tensor
) -> tuple[dict[str, Contender], list[str]]:
    """Builds the contenders and runs each once, which also compiles.

    Args:
        makers: result of `builders`.
        example: pseudo-image (1,64,H,W).

    Returns:
        Contenders by name, without those that fail or are far slower than the first, and a line
        about each that is left out.
    """
    contenders: dict[str, Contender] = {}
    left_out: list[str] = []
    first = 0.0
    for name, make in makers.items():
        try:
            contender = make()
            if why := getattr(contender, 'float32_reason', ''):
                left_out.append(f'{name} is left out, as it computes in float32: {why}')
                continue
            (ms,) = interleaved({'': partial(contender, example)}, 1)['']
        except Exception as error:  # Missing compilers and packages raise errors of any kind.
            if name in _ENGINES:
                raise
            left_out.append(f'{name} is left out: {one_line(error)}')
            continue
        first = first or ms
        if ms > _TOO_SLOW * first:
            times = f'{ms / first:.1f} times those of {next(iter(contenders))}'
            left_out.append(f'{name} is left out: a frame took {ms:.0f} ms, {times}')
        else:
            contenders[name] = contender
    return contenders, left_out


def multiplications(network: nn.Module, shape: tuple[int, int]) -> int:
    """Counts the multiplications of a network's convolutions on a map (H,W), without running."""
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(network).to('meta')(torch.empty(1, 64, *shape, device='meta'))
    return counter.get_total_flops() // 2


def work_fraction(contender: Contender, network: nn.Module, shape: tuple[int, int]) -> float:
    """Returns the multiplications of the last run over those of the dense network."""
    if isinstance(contender, BackboneRunner):
        statistics = contender.statistics
        return statistics.work_fraction if statistics.path == 'sparse' else 1.0
    if isinstance(contender, PointPillarsBackbone):
        return multiplications(contender, shape) / multiplications(network, shape)
    return 1.0
