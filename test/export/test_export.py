# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The program export: files, metadata, refusals."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime', 'openvino')

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from small_models import small_models, small_weights

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export import export, onnx_files, parity, simulated_inputs
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.export.exported_parts import MEANINGS, backbone_part, build_parts, describe
from tiny_bev_ros.export.torch_program import METADATA, write_torch_program
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference import exported_runtimes
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.optional_imports import OptionalModule
from tiny_bev_ros.resources import CAMERA_WEIGHTS, weights_file

NAMES = ('backbone', 'backbone_heads', 'pfn')


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_weights(tmp_path_factory.mktemp('weights') / 'own.safetensors')


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, weights: Path, tmp_path: Path):
    def run(target: str, *more: str) -> int:
        words = ['export', '--target', target, '--weights', str(weights), *more]
        monkeypatch.setattr(sys, 'argv', [*words, '--output', str(tmp_path / 'out')])
        return export.main()

    return run


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / 'out').iterdir()}


def test_onnx_files_are_described(run, weights: Path, tmp_path: Path, capsys):
    assert run('onnx') == 0
    assert files(tmp_path) == {f'{name}.onnx' for name in NAMES}
    printed = capsys.readouterr().out
    assert 'backbone_heads.onnx boxes 2 x 97 x 51' in printed
    assert f'written: {tmp_path}/out/pfn.onnx' in printed
    model = onnx.load(tmp_path / 'out/backbone_heads.onnx')
    assert [each.version for each in model.opset_import] == [onnx_files.OPSET]
    found = {each.key: each.value for each in model.metadata_props}
    assert found['weights_sha256'] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (found['weights'], found['stride'], found['resolution_m']) == ('own', '2', '0.2')
    assert json.loads(found['z_range_m']) == [-3.0, 2.0]
    assert found['number_format'] == 'float32'
    assert found['producer'].startswith('tiny_bev_ros ') and found['commit']
    assert 'licence' not in found  # the weights are not ours
    assert 'levelled_ground_z_m' not in found
    values = {each.name: each for each in (*model.graph.input, *model.graph.output)}
    assert list(values) == ['pseudo_image', 'scores', 'boxes', 'drivable']
    assert all(each.doc_string == MEANINGS[name] for name, each in values.items())
    sizes = values['pseudo_image'].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in sizes] == ['batch', 8, 'height', 'width']


def test_files_of_levelled_weights_tell_where_the_ground_is():
    shipped = Path(weights_file('street'))
    found = describe(shipped, LoadedModels.from_file(shipped))
    assert (found['levelled_ground_z_m'], found['licence']) == ('-1.73', 'Apache-2.0')


@pytest.mark.parametrize('target', ['onnx', 'openvino', 'torch'])
@pytest.mark.parametrize(
    ('option', 'shown'),
    [
        ('--x-range 0 51.2', '(0.0, 51.2)'),
        ('--y-range -8 8', '(-8.0, 8.0)'),
        ('--sensor-height 2', '2.0'),
        ('--max-voxels 9', '9'),
        ('--min-scores 0.3 0.3 0.2', '(0.3, 0.3, 0.2)'),
    ],
)
def test_options_of_a_bundle_are_refused_with_other_targets(
    run, tmp_path, capsys, target, option, shown
):
    assert run(target, *option.split()) == 1
    name = option.split()[0]
    expected = f'export: {name} is {shown} with target {target}; expected this option with target '
    assert capsys.readouterr().err.startswith(expected)
    assert not (tmp_path / 'out').exists()


def test_openvino_files_hold_float16(run, tmp_path: Path):
    assert run('openvino') == 0
    assert files(tmp_path) == {f'{name}.{end}' for name in NAMES for end in ('xml', 'bin')}
    model = openvino.Core().read_model(tmp_path / 'out/backbone.xml')
    assert model.get_rt_info(['tiny_bev_ros', 'weights']).astype(str) == 'own'
    kinds = {op.get_element_type().get_type_name() for op in model.get_ops()
             if op.get_type_name() == 'Constant' and len(op.shape) == 4}  # fmt: skip
    assert kinds == {'f16'}


def test_programs_of_torch_are_described(run, tmp_path: Path):
    assert run('torch') == 0
    assert files(tmp_path) == {f'{name}.pt2' for name in NAMES}
    extra = {METADATA: ''}
    torch.export.load(tmp_path / 'out/pfn.pt2', extra_files=extra)
    assert json.loads(extra[METADATA])['weights'] == 'own'


def test_an_engine_of_replaced_files_is_removed(run, tmp_path: Path):
    for name in ('backbone.engine', 'own.engine'):
        (tmp_path / 'out').mkdir(exist_ok=True)
        (tmp_path / 'out' / name).touch()
    assert run('onnx') == 0
    assert files(tmp_path) == {*(f'{name}.onnx' for name in NAMES), 'own.engine'}


def test_cameras_are_left_out_with_a_line(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
):
    report = ExportReport([], [])
    monkeypatch.setattr(onnx_files, 'export', lambda options, folder: report)
    for name, count in ((CAMERA_WEIGHTS, 1), (str(weights), 0)):
        words = ['export', '--target', 'onnx', '--weights', name, '--output', str(tmp_path)]
        monkeypatch.setattr(sys, 'argv', words)
        assert export.main() == 0
        assert capsys.readouterr().out.count('camera encoder and fusion: left out') == count


def test_a_condition_on_values_is_refused(tmp_path: Path):
    class Conditional(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image if image.sum() > 0 else -image

    with pytest.raises(TinyBevError, match=r'^x\.pt2 cannot be written \('):
        write_torch_program(backbone_part(Conditional(), 8), tmp_path / 'x.pt2')


def test_maps_of_small_cells_have_points():
    models = small_models('tiny')
    grid = BevGrid((0.0, 6.4), (-3.2, 3.2), (-3.0, 2.0), 0.05)
    models = dataclasses.replace(models, grid=grid)
    for part in build_parts(models, {}):
        assert all(case.inputs[0].any() for case in parity.parity_cases(part, models))


def test_a_wrong_export_leaves_no_file(run, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(parity.TOLERANCES, 'float32', 1e-12)
    assert run('onnx') == 1
    assert files(tmp_path) == set()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('export: error of backbone.onnx bev_features 1 x 64 x 80 is ')


def test_a_missing_package_is_named(monkeypatch):
    missing = OptionalModule(None, 'onnx is not installed')
    monkeypatch.setattr(exported_runtimes, 'import_optional', lambda name: missing)
    with pytest.raises(TinyBevError, match=r'^onnx is not installed; expected .*pip install onnx'):
        exported_runtimes.require_package('onnx')


def test_unknown_weights_are_refused(monkeypatch, tmp_path: Path, capsys):
    words = ['export', '--target', 'onnx', '--weights', 'nowhere', '--output', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', words)
    assert export.main() == 1
    assert capsys.readouterr().err.startswith("export: weights is 'nowhere'; expected ")


def test_the_help_has_examples(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['export', '--help'])
    with pytest.raises(SystemExit):
        export.main()
    assert 'export --target onnx --weights street' in capsys.readouterr().out


def test_a_time_of_zero_is_added_for_nets_with_time():
    assert not np.any(simulated_inputs.simulated_points(0, 5)[:, 4])
