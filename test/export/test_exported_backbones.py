# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Every registered backbone, exported and run at sizes that were not traced."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime')

from pathlib import Path

import pytest
from small_models import small_models

from tiny_bev_ros.export.exported_parts import backbone_part
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.parity import (
    SIZES,
    check_parity,
    parity_cases,
)
from tiny_bev_ros.export.simulated_inputs import simulated_points
from tiny_bev_ros.export.torch_program import load_torch_program, write_torch_program
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models import list_backbones


@pytest.fixture(scope='module', params=list_backbones())
def models(request: pytest.FixtureRequest) -> LoadedModels:
    return small_models(request.param)


def test_a_backbone_exports_to_onnx(models: LoadedModels, tmp_path: Path):
    part = backbone_part(models.backbone, 8)
    path = write_onnx(part, tmp_path / 'backbone.onnx')
    cases = parity_cases(part, models)
    rows = check_parity(part, path.name, OnnxRuntime(path, 1).outputs, cases)
    assert len(rows) == len(SIZES) == 2
    assert part.inputs['pseudo_image'].shape[2:] not in [size[1:] for size in SIZES]


def test_a_backbone_exports_to_a_program_of_torch(models: LoadedModels, tmp_path: Path):
    part = backbone_part(models.backbone, 8)
    path = write_torch_program(part, tmp_path / 'backbone.pt2')
    cases = parity_cases(part, models)
    rows = check_parity(part, path.name, load_torch_program(path), cases)
    # Windows of transformer fill a map of 32 x 40 cells without padding.
    assert [row.name.split(' ', 2)[2] for row in rows] == ['1 x 64 x 80', '2 x 97 x 51']


def test_the_simulated_cloud_has_points():
    assert len(simulated_points(0, 4)) > 1000
    assert simulated_points(0, 5).shape[1] == 5
