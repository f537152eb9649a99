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

import re
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks.engine import contenders
from benchmarks.engine.benchmark_inputs import backbone
from benchmarks.engine.compare import max_error
from benchmarks.engine.peers import PointPillarsBackbone
from tiny_bev_ros import optional_imports
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference import exported_runtimes

SHAPE = (24, 16)
IMAGE = torch.zeros(1, 64, *SHAPE)


def fail() -> contenders.Contender:
    raise RuntimeError('no C++ compiler\nsecond line')


def test_every_engine_computes_the_network(tmp_path: Path):
    network = backbone()
    makers = contenders.builders(network, SHAPE, 1, tmp_path)
    assert next(iter(makers)) == 'eager'
    assert not list(tmp_path.iterdir())
    image = torch.zeros(1, 64, *SHAPE)
    image[:, :, 3, 4] = 1
    with torch.inference_mode():
        wanted = network(image)
        for name, make in makers.items():
            if name.startswith(('engine', 'folded')):
                got = make()(image)
                assert (got - wanted).norm() / wanted.norm() < 0.01, name


@torch.inference_mode()
def test_a_peer_that_fails_is_left_out_with_its_reason():
    makers = {'eager': backbone, 'torch.compile': fail}
    found, left_out = contenders.build(makers, IMAGE, max_error)
    assert list(found) == ['eager']
    assert left_out == {'torch.compile': 'RuntimeError: no C++ compiler'}


@torch.inference_mode()
@pytest.mark.parametrize(
    ('package', 'name'),
    [
        ('onnx', 'ONNX Runtime float32'),
        ('onnx', 'OpenVINO float32'),
        ('onnxruntime', 'ONNX Runtime float32'),
        ('onnxruntime', 'ONNX Runtime int8'),
        ('openvino', 'OpenVINO bfloat16'),
    ],
)
def test_without_its_package_a_runtime_is_left_out(monkeypatch, tmp_path, package, name):
    for each in ('onnx', 'onnxruntime', 'openvino'):
        monkeypatch.setitem(sys.modules, each, None if each == package else mock.MagicMock())
    # Uncached, as other tests need the packages.
    uncached = optional_imports.import_optional.__wrapped__
    monkeypatch.setattr(exported_runtimes, 'import_optional', uncached)
    monkeypatch.setattr(torch.onnx, 'export', mock.MagicMock())
    makers = contenders.builders(backbone(), SHAPE, 1, tmp_path)
    some = {'eager': makers['eager'], name: makers[name]}
    found, left_out = contenders.build(some, IMAGE, max_error)
    assert list(found) == ['eager']
    assert re.search(rf'import of {package} |{package} is not installed', left_out[name])


@pytest.mark.parametrize('factor', [1.01, float('nan')])
def test_a_peer_that_computes_something_else_is_left_out(monkeypatch, factor: float):
    monkeypatch.setattr(contenders, '_TOO_SLOW', float('inf'))
    image = torch.ones(1, 64, *SHAPE)
    makers = {
        'eager': lambda: lambda x: x,
        'ONNX Runtime float32': lambda: lambda x: factor * x,
        'OpenVINO bfloat16': lambda: lambda x: 1.01 * x,
        'OpenVINO float32': lambda: lambda x: x[:, :1],
        contenders.POINTPILLARS: lambda: lambda x: x[:, :1],
    }
    found, left_out = contenders.build(makers, image, max_error)
    assert list(found) == ['eager', 'OpenVINO bfloat16', contenders.POINTPILLARS]
    number = 'nan' if factor != factor else '1.0e-02'
    assert left_out['ONNX Runtime float32'] == (
        f'error of ONNX Runtime float32 is {number}; expected at most 0.0001'
    )
    assert 'is inf; expected' in left_out['OpenVINO float32']


def test_an_engine_that_computes_something_else_is_an_error():
    makers = {'eager': lambda: lambda x: x, 'engine float32': lambda: lambda x: x + 1}
    with pytest.raises(TinyBevError, match='error of engine float32 is'):
        contenders.build(makers, torch.ones(1, 64, *SHAPE), max_error)


def test_an_engine_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match='no C'):
        contenders.build({'engine float32': fail}, IMAGE, max_error)


def test_a_contender_that_is_far_too_slow_is_left_out_with_its_times():
    makers = {
        'quick': lambda: lambda image: image,
        'slow': lambda: lambda image: time.sleep(0.05) or image,
    }
    found, left_out = contenders.build(makers, torch.ones(1, 64, *SHAPE), max_error)
    assert list(found) == ['quick']
    assert left_out['slow'].startswith('a frame took')


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
