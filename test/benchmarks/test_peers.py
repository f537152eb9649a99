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

import pytest
import torch

from benchmarks.engine.benchmark_inputs import backbone
from benchmarks.engine.peers import OnnxRuntime, PointPillarsBackbone, export_onnx


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
    export_onnx(network, images, tmp_path)
    for name, tolerance in (('float32', 1e-5), ('int8', 0.05)):
        got = OnnxRuntime(tmp_path / f'{name}.onnx', 1)(images[0])
        assert got.shape == wanted.shape
        assert (got - wanted).norm() / wanted.norm() < tolerance
    sizes = [(tmp_path / f'{name}.onnx').stat().st_size for name in ('float32', 'int8')]
    assert sizes[1] < sizes[0] / 2
