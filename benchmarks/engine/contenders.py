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
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine.benchmark_inputs import CPU, pseudo_images, simulated
from benchmarks.engine.peers import (
    Contender,
    PointPillarsBackbone,
    compiled,
    export_int8,
    export_onnx,
)
from benchmarks.timing import interleaved
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime, OpenVino
from tiny_bev_ros.optional_imports import one_line

POINTPILLARS = 'PointPillars backbone (OpenPCDet, mmdetection3d)'
# Largest time of a contender relative to the first: a precision without CPU instructions would
# take most of the benchmark's time.
_TOO_SLOW = 2.0
# Largest error of a contender, by the last word of its name; of float32 where that is no dtype.
_TOLERANCES = {'float32': 1e-4, 'bfloat16': 0.05, 'float16': 0.01, 'int8': 0.2}
_CALIBRATION_SWEEPS = 2
_ENGINES = {
    'folded float32': ('float32', 'never'),
    'folded bfloat16': ('bfloat16', 'never'),
    'engine float32': ('float32', 'always'),
    'engine bfloat16': ('bfloat16', 'always'),
    'engine float16': ('float16', 'always'),
    'engine auto float32': ('float32', 'auto'),
    'engine auto bfloat16': ('bfloat16', 'auto'),
}
InputT = TypeVar('InputT')
OutputT = TypeVar('OutputT')


def builders(
    network: nn.Module, shape: tuple[int, int], threads: int, models: Path
) -> dict[str, Callable[[], Contender]]:
    """Returns a function per contender that builds it, by name; the eager network first.

    Args:
        network: backbone in eval mode.
        shape: (H,W) of the pseudo-images.
        threads: number of threads of each contender.
        models: folder of the exported networks; a missing file is written when it is needed.
    """

    def exported() -> Path:
        return export_onnx(network, torch.zeros(1, 64, *shape), models / 'float32.onnx')

    def quantized() -> Path:
        return export_int8(exported(), partial(_calibration, shape), models / 'int8.onnx')

    def engine(precision: str, sparsity: str) -> Contender:
        runner = BackboneRunner(
            network, CPU, precision=precision, sparsity=sparsity, threads=threads
        )
        runner.warm_up(shape)
        return runner

    return {
        'eager': lambda: network,
        'torch.compile': partial(compiled, network, threads),
        'ONNX Runtime float32': lambda: OnnxRuntime(exported(), threads),
        'ONNX Runtime int8': lambda: OnnxRuntime(quantized(), threads),
        'OpenVINO float32': lambda: OpenVino(exported(), threads),
        'OpenVINO bfloat16': lambda: OpenVino(exported(), threads, 'bfloat16'),
        'OpenVINO int8': lambda: OpenVino(quantized(), threads),
        POINTPILLARS: lambda: PointPillarsBackbone().eval(),
        **{name: partial(engine, *options) for name, options in _ENGINES.items()},
    }


def build(
    makers: dict[str, Callable[[], Callable[[InputT], OutputT]]],
    example: InputT,
    error: Callable[[OutputT, OutputT], float],
) -> tuple[dict[str, Callable[[InputT], OutputT]], dict[str, str]]:
    """Builds the contenders, checks their outputs and times one run of each, which also compiles.

    Args:
        makers: functions that build contenders, by name; the first is the reference.
        example: input of the contenders.
        error: returns the error of an output, the first argument, relative to that of the
            reference; not for a contender that is another network.

    Returns:
        Contenders by name, and the reason by name for those that are left out: they fail, compute
        something else, or are far slower than the first.

    Raises:
        TinyBevError: a contender of this package computes something else; other errors of such a
            contender are raised as they are.
    """
    contenders: dict[str, Callable[[InputT], OutputT]] = {}
    left_out: dict[str, str] = {}
    first = 0.0
    for name, make in makers.items():
        try:
            contender = make()
            if why := getattr(contender, 'float32_reason', ''):
                left_out[name] = f'it computes in float32: {why}'
                continue
            output = contender(example)
            if not contenders:
                expected = output
            if name != POINTPILLARS:
                _check(name, error(output, expected))
            (ms,) = interleaved({'': partial(contender, example)}, 1)['']
        except Exception as fault:  # Missing compilers and packages raise errors of any kind.
            if name in _ENGINES:
                raise
            left_out[name] = str(fault) if isinstance(fault, TinyBevError) else one_line(fault)
            continue
        first = first or ms
        if ms > _TOO_SLOW * first:
            times = f'{ms / first:.1f} times those of {next(iter(contenders))}'
            left_out[name] = f'a frame took {ms:.0f} ms, {times}'
        else:
            contenders[name] = contender
    return contenders, left_out


def _check(name: str, error: float) -> None:
    tolerance = _TOLERANCES.get(name.rsplit(maxsplit=1)[-1], _TOLERANCES['float32'])
    if not error <= tolerance:  # also where it is NaN
        raise TinyBevError(f'error of {name} is {error:.1e}; expected at most {tolerance:g}')


def _calibration(shape: tuple[int, int]) -> list[Tensor]:
    """Returns parts (1,64,H,W) of the pseudo-images of simulated clouds."""
    sweeps = {str(i): simulated(i) for i in range(_CALIBRATION_SWEEPS)}
    images = [image for label, image in pseudo_images(sweeps) if label in sweeps]
    return [image[:, :, : shape[0], : shape[1]].contiguous() for image in images]


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
