# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Exports that are wrong are refused: at another size, in a value, in a shape."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime')

from pathlib import Path

import pytest
import torch
from small_models import small_models
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.export_report import ExportReport, ParityRow
from tiny_bev_ros.export.exported_parts import ExportedPart, backbone_part
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.parity import check_parity, parity_cases, relative_error
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime
from tiny_bev_ros.inference.loaded_models import LoadedModels


class RowsAsNumber(nn.Module):
    """Divides by the number of rows, which the tracer records as the number it is."""

    def forward(self, image: Tensor) -> Tensor:
        return image / int(image.shape[2])


class RowsAsShape(nn.Module):
    """Reshapes to the number of columns, which the tracer records as the number it is."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(2).unflatten(2, (-1, int(image.shape[3])))


@pytest.fixture(scope='module')
def models() -> LoadedModels:
    return small_models('tiny')


def compare(part: ExportedPart, models: LoadedModels, folder: Path) -> list[ParityRow]:
    path = write_onnx(part, folder / 'backbone.onnx')
    run = OnnxRuntime(path, 1).outputs
    return check_parity(part, path.name, run, parity_cases(part, models))


def test_a_frozen_number_is_found_at_another_size(models: LoadedModels, tmp_path: Path):
    part = backbone_part(RowsAsNumber(), 8)
    # At the traced size the export is right.
    path = write_onnx(part, tmp_path / 'x.onnx')
    image = part.inputs['pseudo_image']
    assert relative_error(OnnxRuntime(path, 1)(image), part.network(image)) < 1e-6
    with pytest.raises(TinyBevError, match=r'^error of backbone.onnx bev_features 1 x 64 x 80 is'):
        compare(part, models, tmp_path)


def test_a_frozen_shape_is_found_at_another_size(models: LoadedModels, tmp_path: Path):
    with pytest.raises(TinyBevError, match=r'backbone.onnx .*1 x 64 x 80 (is inf|\()'):
        compare(backbone_part(RowsAsShape(), 8), models, tmp_path)


def test_values_that_are_no_numbers_are_refused(models: LoadedModels):
    part = backbone_part(nn.Identity(), 8)
    cases = parity_cases(part, models)
    with pytest.raises(TinyBevError, match='is nan of its largest value'):
        check_parity(part, 'x', lambda x: [x * torch.nan], cases)
    assert relative_error(torch.zeros(2), torch.zeros(3)) == float('inf')
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0.0


def test_a_report_is_a_table_with_notes():
    rows = [ParityRow('backbone.onnx bev_features 1 x 64 x 80', 3.2e-7, 1e-4)]
    lines = ExportReport([], rows, ['second stage: left out']).lines()
    assert lines[1].split()[-2:] == ['3.2e-07', '0.0001']
    assert lines[0].startswith('compared with PyTorch') and lines[2] == 'second stage: left out'
