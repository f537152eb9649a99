# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import time
from pathlib import Path

import pytest
import torch

from benchmarks.engine import contenders
from benchmarks.engine.benchmark_inputs import backbone
from benchmarks.engine.peers import PointPillarsBackbone

SHAPE = (24, 16)
IMAGE = torch.zeros(1, 64, *SHAPE)


def fail() -> contenders.Contender:
    raise RuntimeError('no C++ compiler\nsecond line')


def test_every_engine_computes_the_network(tmp_path: Path):
    network = backbone()
    makers = contenders.builders(network, SHAPE, 1, tmp_path)
    assert next(iter(makers)) == 'eager'
    assert not any(name.startswith('ONNX') for name in makers)
    image = torch.zeros(1, 64, *SHAPE)
    image[:, :, 3, 4] = 1
    with torch.inference_mode():
        wanted = network(image)
        for name, make in makers.items():
            if name.startswith(('engine', 'folded')):
                got = make()(image)
                assert (got - wanted).norm() / wanted.norm() < 0.01, name


def test_a_peer_that_fails_is_left_out_with_a_line():
    makers = {'eager': backbone, 'torch.compile': fail}
    found, left_out = contenders.build(makers, IMAGE)
    assert list(found) == ['eager']
    assert left_out == ['torch.compile is left out: RuntimeError: no C++ compiler']


def test_an_engine_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match='no C'):
        contenders.build({'engine float32': fail}, IMAGE)


def test_a_contender_that_is_far_too_slow_is_left_out_with_a_line():
    makers = {
        'quick': lambda: lambda image: image,
        'slow': lambda: lambda image: time.sleep(0.05),
    }
    found, (line,) = contenders.build(makers, IMAGE)
    assert list(found) == ['quick']
    assert line.startswith('slow is left out: a frame took')


def test_multiplications():
    assert contenders.multiplications(backbone(), (496, 432)) == 28_523_888_640
    # From the published layers: 4, 6 and 6 convolutions of 3x3 and three transposed ones.
    cells = 496 * 432
    stages = 64 * 64 * 9 * 4 / 4 + (64 + 5 * 128) * 128 * 9 / 16 + (128 + 5 * 256) * 256 * 9 / 64
    ups = 128 * (64 / 4 + 128 / 4 + 256 / 4)
    assert contenders.multiplications(PointPillarsBackbone(), (496, 432)) == cells * (stages + ups)


def test_work_fraction_is_that_of_the_path_taken(tmp_path: Path):
    network = backbone()
    makers = contenders.builders(network, SHAPE, 1, tmp_path)
    fractions = {}
    for name in ('eager', 'folded float32', 'engine float32', contenders.POINTPILLARS):
        contender = makers[name]()
        with torch.inference_mode():
            contender(IMAGE)
        fractions[name] = contenders.work_fraction(contender, network, SHAPE)
    assert fractions['eager'] == fractions['folded float32'] == 1.0
    assert fractions['engine float32'] == 0.0
    assert fractions[contenders.POINTPILLARS] == pytest.approx(1.146, abs=1e-3)
