# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks quantised to int8: files, errors, refusals."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime', 'openvino')

import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from small_models import small_models, small_weights

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.export import export, int8_quantization, parity


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    weights = small_weights(tmp_path / 'own.safetensors')
    calibrate = int8_quantization.calibration_images
    monkeypatch.setattr(
        'tiny_bev_ros.export.onnx_files.calibration_images', lambda m: calibrate(m, (64, 64))
    )
    monkeypatch.setattr(int8_quantization, '_LIDARS', ('vlp16', 'hdl32'))

    def run(target: str) -> int:
        words = ['export', '--target', target, '--weights', str(weights), '--precision', 'int8']
        monkeypatch.setattr(sys, 'argv', [*words, '--output', str(tmp_path / 'out')])
        return export.main()

    return run


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / 'out').iterdir()}


def test_onnx_files_are_quantised(run, tmp_path: Path, capsys):
    assert run('onnx') == 0
    assert files(tmp_path) == {'backbone_int8.onnx', 'backbone_heads_int8.onnx', 'pfn.onnx'}
    printed = capsys.readouterr().out
    assert 'backbone_heads_int8.onnx scores 2 x 97 x 51' in printed
    assert 'Collecting' not in printed  # the library's progress
    model = onnx.load(tmp_path / 'out/backbone_heads_int8.onnx')
    described = {each.key: each.value for each in model.metadata_props}
    assert (described['weights'], described['number_format']) == ('own', 'int8')
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in sizes] == ['batch', 8, 'height', 'width']
    by_output = {name: node for node in model.graph.node for name in node.output}
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    plain = []
    for conv in (node for node in model.graph.node if node.op_type == 'Conv'):
        if conv.input[1] in constants:
            plain.append(constants[conv.input[1]].shape[2:])
            continue
        weights, scales, zeros = (constants[x] for x in by_output[conv.input[1]].input)
        assert weights.dtype == np.int8 and scales.shape == (len(weights),) and not zeros.any()
        activation = by_output[conv.input[0]]
        assert activation.op_type == 'DequantizeLinear'
        assert constants[activation.input[2]].dtype == np.uint8
    assert plain == [(1, 1), (1, 1)]  # the last of each head


def test_openvino_files_are_quantised(run, tmp_path: Path):
    assert run('openvino') == 0
    names = ('backbone_int8', 'backbone_heads_int8', 'pfn')
    assert files(tmp_path) == {f'{name}.{end}' for name in names for end in ('xml', 'bin')}
    model = openvino.Core().read_model(tmp_path / 'out/backbone_heads_int8.xml')
    assert model.get_rt_info(['tiny_bev_ros', 'number_format']).astype(str) == 'int8'
    constants = [op for op in model.get_ops() if op.get_type_name() == 'Constant']
    kinds = [op.get_element_type().get_type_name() for op in constants if len(op.shape) == 4]
    assert kinds.count('i8') == 7  # five convolutions of the backbone, one of each head
    assert any(op.get_type_name() == 'FakeQuantize' for op in model.get_ops())
    detector = Detector(
        tmp_path / 'own.safetensors', exported_network=tmp_path / 'out/backbone_heads_int8.xml'
    )
    assert detector(np.zeros((1, 4), np.float32)).drivable.shape == (128, 128)
    assert detector.runner.backbone.statistics.precision == 'int8'


def test_files_of_too_large_errors_are_refused(run, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(parity.TOLERANCES, 'int8', 1e-4)
    assert run('onnx') == 1
    assert files(tmp_path) == set()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('export: error of backbone_int8.onnx bev_features 1 x 64 x 80 is ')
    assert line.endswith('of its norm; expected at most 0.0001')


@pytest.mark.parametrize('target', ['torch', 'autoware'])
def test_other_targets_refuse_int8(run, tmp_path: Path, capsys, target: str):
    assert run(target) == 1
    expected = f'export: precision is int8; expected float32 with target {target}, as onnx and '
    assert capsys.readouterr().err.startswith(expected)
    assert not (tmp_path / 'out').exists()


def test_images_of_calibration_show_streets():
    images = int8_quantization.calibration_images(small_models('tiny'), (96, 128))
    assert {tuple(image.shape) for image in images} == {(1, 8, 96, 128)}
    assert all(image.any() for image in images)
