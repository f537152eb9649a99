# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Configuration of extract: parameters of the workers, and what the manifest compares."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction import configuration
from tiny_bev_ros.extraction.configuration import (
    check_exported_network,
    describe_bag,
    make_manifest,
    read_values,
)
from tiny_bev_ros.extraction.extract_options import make_parser
from tiny_bev_ros.extraction.frame_outputs import OutputOptions
from tiny_bev_ros.extraction.work_units import Survey
from tiny_bev_ros.resources import weights_file


def options(*words: str) -> Namespace:
    return make_parser('').parse_args(['bag', '--output', 'out', *words])


def manifest(
    folder: Path, *words: str, outputs: OutputOptions | None = None, **parameters: Any
) -> dict[str, Any]:
    """Returns the manifest with a parameter file."""
    file = folder / 'robot.yaml'
    file.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}))
    given = options('--params-file', str(file), *words)
    return make_manifest(given, read_values(given), outputs or OutputOptions(), [])


def test_parameters_without_effect_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(configuration, 'choose_device', lambda *_: torch.device('cpu'))
    plain = manifest(tmp_path, weights='street')
    same = {
        'device': 'cpu',
        'max_age_ms': 100.0,
        'autostart': False,
        'output_encoding': 'float16',
        'bev_image.channel': 3,
        'input_reliability': 'reliable',
        'memory_budget_mb': 1000,
        'memory_fallback.allow_cpu': False,
        'drivable_area.durability': 'volatile',
        'diagnostics.rate_warn_hz': 5.0,
    }
    assert manifest(tmp_path, weights='street', **same) == plain
    for name, value in {
        'grid.x_range': [0.0, 25.6],
        'cloud.self_box': [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0],
        'max_message_mb': 1,
        'num_threads': 2,
        'detection.min_score.vehicle': 0.5,
    }.items():
        assert manifest(tmp_path, weights='street', **{name: value}) != plain


def test_weights_are_compared_by_their_content(tmp_path: Path):
    """Another install prefix, or a copy, has the same weights."""
    for folder in ('one', 'other'):
        (tmp_path / folder).mkdir()
        shutil.copy(weights_file('street'), tmp_path / folder)
    one, other = (
        manifest(tmp_path, '--weights', str(tmp_path / folder / 'street.safetensors'))
        for folder in ('one', 'other')
    )
    assert one == other
    assert set(one['weights']) == {'pfn.checkpoint', 'backbone.checkpoint', 'heads.checkpoint'}
    other_file = tmp_path / 'other/street.safetensors'
    other_file.write_bytes(other_file.read_bytes() + b' ')
    # The files of networks by name in a parameter file, too.
    parameters = {'weights': 'none', 'pfn.checkpoint': str(other_file)}
    assert manifest(tmp_path, **parameters)['weights'].keys() == {'pfn.checkpoint'}
    assert manifest(tmp_path, **parameters)['weights'] != {
        'pfn.checkpoint': one['weights']['pfn.checkpoint']
    }


def test_paths_of_weights_hold_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(weights_file('street'), tmp_path / 'mine.safetensors')
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / 'mine.safetensors')
    assert read_values(options('--weights', 'mine.safetensors'))['heads.checkpoint'] == path
    file = tmp_path / 'robot.yaml'
    file.write_text('/**: {ros__parameters: {weights: none, pfn.checkpoint: mine.safetensors}}')
    values = read_values(options('--params-file', 'robot.yaml'))
    assert (values['pfn.checkpoint'], values['heads.checkpoint']) == (path, '')


@pytest.mark.parametrize('executor', ['local', 'ray'])
def test_device_and_dtype_of_auto_are_decided_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
):
    devices = [torch.device('cpu'), torch.device('cuda', 1)]
    dtypes = [torch.float32, torch.bfloat16]
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    found = []
    for device, dtype in zip(devices, dtypes, strict=True):
        monkeypatch.setattr(configuration, 'choose_device', lambda *_, device=device: device)
        monkeypatch.setattr(configuration, 'requested_dtype', lambda *_, dtype=dtype: dtype)
        assert read_values(options('--executor', executor))['device'] == device.type
        words = ('--executor', executor)
        found.append(manifest(tmp_path, *words, **{'backbone.precision': 'auto'}))
    assert [each['device'] for each in found] == ['cpu', 'cuda']
    assert [each['compute_dtype'] for each in found] == ['float32', 'bfloat16']
    assert found[0]['parameters'] == found[1]['parameters']


def test_a_gpu_of_the_cluster_need_not_be_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    parameters = {'device': 'cuda', 'backbone.precision': 'auto'}
    found = manifest(tmp_path, '--executor', 'ray', **parameters)
    assert (found['device'], found['compute_dtype']) == ('cuda', 'auto')
    with pytest.raises(TinyBevError, match="device is 'cuda', but"):
        manifest(tmp_path, **parameters)
    with pytest.raises(TinyBevError, match="device is 'gpu'; expected auto, cpu, cuda"):
        manifest(tmp_path, '--executor', 'ray', device='gpu')


def test_libraries_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(configuration, 'version', lambda name: f'{name} 1')
    libraries = {
        name: manifest(tmp_path, outputs=OutputOptions(format=name))['libraries']
        for name in ('parquet', 'safetensors', 'mcap')
    }
    common = {'numba': 'numba 1', 'numpy': 'numpy 1', 'torch': 'torch 1'}
    arrays = {'safetensors': 'safetensors 1'}
    assert libraries['parquet'] == {**common, 'pyarrow': 'pyarrow 1', **arrays}
    assert libraries['safetensors'] == {**common, **arrays}
    assert libraries['mcap'].keys() == {*common, 'vision_msgs'}


def test_an_exported_network_is_compared_by_its_content(tmp_path: Path):
    files = {name: tmp_path / name for name in ('one.xml', 'one.bin', 'two.onnx')}
    for name, path in files.items():
        path.write_text(name)
    xml, onnx = (
        manifest(tmp_path, **{'backbone.exported_network': str(files[name])})
        for name in ('one.xml', 'two.onnx')
    )
    assert xml['weights'].keys() - onnx['weights'].keys() == {'backbone.exported_network (.bin)'}
    assert (
        xml['weights']['backbone.exported_network'] != onnx['weights']['backbone.exported_network']
    )
    assert 'backbone.exported_network' not in xml['parameters']
    assert xml['libraries'].keys() ^ onnx['libraries'].keys() == {'onnxruntime', 'openvino'}
    assert 'openvino' in xml['libraries']
    assert (xml['device'], xml['compute_dtype']) == ('cpu', None)
    with pytest.raises(TinyBevError, match="device is 'cuda'; expected auto or cpu"):
        manifest(tmp_path, device='cuda', **{'backbone.exported_network': str(files['two.onnx'])})


@pytest.mark.parametrize(
    ('outputs', 'what', 'refused'),
    [
        (['scores', 'boxes'], ('detections', 'features'), True),
        (['bev_features'], ('detections', 'features'), False),
        (['scores', 'boxes'], ('detections',), False),
    ],
)
def test_features_that_an_exported_network_lacks_are_refused(
    monkeypatch: pytest.MonkeyPatch, outputs: list[str], what: tuple[str, ...], refused: bool
):
    network = SimpleNamespace(output_names=outputs)
    monkeypatch.setattr(configuration, 'open_exported', lambda path, threads: network)
    values = {'backbone.exported_network': 'heads.onnx'}
    expected = (
        '--what is detections,features; expected no features, as backbone.exported_network '
        'computes the heads as well'
    )
    with pytest.raises(TinyBevError, match=expected) if refused else nullcontext():
        check_exported_network(OutputOptions(what), values)


def test_a_bag_that_cannot_be_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ('good', 'closed'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.mcap').write_bytes(b'123')
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == 'closed':
            raise PermissionError(13, 'Permission denied')
        return listed(path)

    monkeypatch.setattr(Path, 'iterdir', iterdir)
    assert describe_bag(str(tmp_path / 'closed')) is None
    surveys = [Survey(str(tmp_path / name), name) for name in ('closed', 'good')]
    given = options()
    found = make_manifest(given, read_values(given), OutputOptions(), surveys)['bags']
    assert found.keys() == {'good'}
    assert found['good']['files']['a.mcap']['bytes'] == 3


def test_parameters_of_other_nodes_are_refused(tmp_path: Path):
    file = tmp_path / 'robot.yaml'
    file.write_text('/robot1/pipeline_node: {ros__parameters: {weights: street}}')
    with pytest.raises(TinyBevError, match='has parameters of /robot1/pipeline_node; expected'):
        read_values(options('--params-file', str(file)))
