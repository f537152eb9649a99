# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from benchmarks.engine import peers
from benchmarks.engine.benchmark_inputs import backbone
from benchmarks.engine.peers import (
    PointPillarsBackbone,
    export_int8,
    export_onnx,
)
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference import exported_runtimes
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime, OpenVino


def test_the_backbone_of_pointpillars_is_the_published_one():
    network = PointPillarsBackbone().eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 64, 16, 24)).shape == (1, 384, 8, 12)
    convolutions = [m for m in network.stages.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [64] * 4 + [128] * 6 + [256] * 6
    assert sum(conv.stride == (2, 2) for conv in convolutions) == 3


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_onnx_runtime_computes_the_network(tmp_path: Path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    network = backbone()
    images = [torch.rand(1, 64, 16, 24) for _ in range(2)]
    with torch.inference_mode():
        wanted = network(images[0])
    plain = export_onnx(network, images[0], tmp_path / 'float32.onnx')
    export_int8(plain, lambda: images, tmp_path / 'int8.onnx')
    for name, tolerance in (('float32', 1e-5), ('int8', 0.05)):
        got = OnnxRuntime(tmp_path / f'{name}.onnx', 1)(images[0])
        assert got.shape == wanted.shape
        assert (got - wanted).norm() / wanted.norm() < tolerance
    sizes = [(tmp_path / f'{name}.onnx').stat().st_size for name in ('float32', 'int8')]
    assert sizes[1] < sizes[0] / 2


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_openvino_computes_the_network(tmp_path: Path):
    pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    network = backbone()
    image = torch.rand(1, 64, 16, 24)
    with torch.inference_mode():
        wanted = network(image)
    path = export_onnx(network, image, tmp_path / 'float32.onnx')
    got = OpenVino(path, 1)(image)
    assert got.shape == wanted.shape
    assert (got - wanted).norm() / wanted.norm() < 1e-5


class Vino:
    """Stand-in for openvino that keeps the options, and returns its input and the double."""

    options: dict[str, Any]

    def __init__(self, *capabilities: str) -> None:
        self._capabilities = list(capabilities)

    def Core(self) -> Vino:  # noqa: N802 - as in openvino
        return self

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ('CPU', 'OPTIMIZATION_CAPABILITIES')
        return self._capabilities

    def read_model(self, path: Path) -> mock.Mock:
        return mock.Mock(outputs=[], has_rt_info=lambda key: False)

    def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Vino:
        assert device == 'CPU'
        self.options = options
        return self

    def create_infer_request(self) -> Vino:
        return self

    def infer(self, inputs: list[np.ndarray], **_: bool) -> dict[str, np.ndarray]:
        return {'a': inputs[0], 'b': 2 * inputs[0]}


@pytest.mark.parametrize(('precision', 'hint'), [('float32', 'f32'), ('bfloat16', 'bf16')])
def test_openvino_gets_precision_and_threads(monkeypatch, precision: str, hint: str):
    vino = Vino('FP32', 'BF16')
    monkeypatch.setattr(exported_runtimes, 'require_package', lambda name: vino)
    first, second = OpenVino(Path('x.onnx'), 2, precision).outputs(torch.ones(1, 1, 2, 2))
    assert torch.equal(second, 2 * first)
    assert vino.options == {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': 2,
        'ENABLE_CPU_PINNING': False,
        'INFERENCE_PRECISION_HINT': hint,
    }


def test_openvino_refuses_to_emulate_bfloat16(monkeypatch):
    vino = Vino('FP32', 'INT8')
    monkeypatch.setattr(exported_runtimes, 'require_package', lambda name: vino)
    with pytest.raises(TinyBevError, match='on this CPU are FP32, INT8; expected BF16'):
        OpenVino(Path('x.onnx'), 1, 'bfloat16')
    OpenVino(Path('x.onnx'), 1)


def test_an_exported_file_is_not_written_again(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(peers, 'require_package', mock.MagicMock())
    monkeypatch.setattr(torch.onnx, 'export', mock.MagicMock(side_effect=AssertionError))
    path = tmp_path / 'float32.onnx'
    path.touch()
    assert export_onnx(backbone(), torch.zeros(1, 64, 16, 24), path) == path
