# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Accuracy of exported networks: sets, networks and the table of the page."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime', 'openvino')

from pathlib import Path

import pytest
from small_models import small_weights

from experiments import export_accuracy
from experiments.export_accuracy import BFLOAT16, REFERENCE, main
from tiny_bev_ros.export.exported_parts import build_parts, describe
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.training import evaluation_run

PAGE = Path(__file__).resolve().parents[2] / 'docs/export.md'


def test_each_network_is_evaluated_and_the_page_takes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    weights = small_weights(tmp_path / 'own.safetensors')
    models = LoadedModels.from_file(weights)
    _, part, _ = build_parts(models, describe(weights, models))
    network = write_onnx(part, tmp_path / 'network.onnx')
    monkeypatch.setattr(export_accuracy, 'export_networks', lambda *_: {'exported': network})
    monkeypatch.setattr(evaluation_run, '_MIN_MAP', 8.0)
    page = tmp_path / 'export.md'
    page.write_text(PAGE.read_text())
    words = ['--weights', str(weights), '--frames', '1', '--output', str(tmp_path / 'out')]
    monkeypatch.setattr('sys.argv', ['export_accuracy', *words, '--document', str(page)])
    assert main() == 0
    assert 'export_accuracy: kitti left out: data is not given' in capsys.readouterr().err
    rows = [line.split(' | ') for line in page.read_text().splitlines() if line[:6] == '| sim ']
    assert [row[1] for row in rows] == [REFERENCE, BFLOAT16, 'exported']
    # float32 exports have the figures of the package; maps of random weights hold no objects.
    assert rows[0][2:] == rows[2][2:]
    assert len(rows[0]) == 7


def test_names_of_networks_state_runtime_and_precision(tmp_path: Path, monkeypatch):
    calls = []
    for target in ('onnx_files', 'openvino_files'):
        monkeypatch.setattr(
            getattr(export_accuracy, target),
            'export',
            lambda options, folder: calls.append(options.precision),
        )
    networks = export_accuracy.export_networks('street', tmp_path)
    assert list(networks) == [
        'ONNX Runtime, float32', 'OpenVINO, float32', 'ONNX Runtime, int8', 'OpenVINO, int8',
    ]  # fmt: skip
    assert networks['OpenVINO, int8'] == tmp_path / 'backbone_heads_int8.xml'
    assert calls == ['float32', 'float32', 'int8', 'int8']
