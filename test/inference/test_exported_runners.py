# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detectors on exported networks: objects of the package, and refusals at the start."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime')

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from second_stages import save_with_second_stage

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.exported_parts import ExportedPart, build_parts, describe
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.openvino_files import write_openvino
from tiny_bev_ros.export.simulated_inputs import simulated_points
from tiny_bev_ros.inference import cpu_flags, exported_builder, exported_runtimes
from tiny_bev_ros.inference.exported_runners import ExportedBackbone
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import ModelBuilder, build_runner
from tiny_bev_ros.models.device import CPU
from tiny_bev_ros.models.heads.refinement import MIN_CANDIDATE_SCORE
from tiny_bev_ros.optional_imports import OptionalModule
from tiny_bev_ros.resources import weights_file

STREET = ((-16.0, 16.0), (-12.8, 12.8))
SMALL = ((0.0, 16.0), (-8.0, 8.0))
MIN_SCORES = (0.3, 0.2, 0.1)


def parts_of(weights: Path) -> dict[str, ExportedPart]:
    models = LoadedModels.from_file(weights)
    parts = build_parts(models, describe(weights, models))
    return {part.name: part for part in parts}


@pytest.fixture(scope='module')
def street_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns exported files of `street` by name; skips without a package for them."""
    folder, parts = tmp_path_factory.mktemp('street'), parts_of(Path(weights_file('street')))

    def file(name: str) -> Path:
        path = folder / name
        if not path.exists():
            if path.suffix == '.xml':
                pytest.importorskip('openvino')
                write_openvino(parts[path.stem], path)
            else:
                write_onnx(parts[path.stem], path)
        return path

    return file


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_second_stage(tmp_path_factory.mktemp('weights') / 'weights.safetensors')


@pytest.fixture(scope='module')
def files(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported files of small networks, by name."""
    folder = tmp_path_factory.mktemp('files')
    return {
        name: write_onnx(part, folder / f'{name}.onnx') for name, part in parts_of(weights).items()
    }


@pytest.mark.parametrize('refine', [False, True])
@pytest.mark.parametrize('name', ['backbone_heads.onnx', 'backbone.onnx'])
def test_an_export_finds_the_objects_of_the_detector(street_files, name: str, refine: bool):
    points = simulated_points(3, 4, 'hdl64')
    wanted = Detector('street', *STREET, refine_boxes=refine)(points, MIN_SCORES)
    exported = Detector(
        'street', *STREET, refine_boxes=refine, exported_network=street_files(name)
    )
    found = exported(points, MIN_SCORES)
    assert len(wanted.scores) > 2
    assert np.array_equal(found.label_ids, wanted.label_ids)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)
    np.testing.assert_allclose(found.drivable, wanted.drivable, atol=1e-3)
    stages = {'pillars', 'backbone', 'heads'} | ({'refinement'} if refine else set())
    assert set(found.seconds) == stages
    if name.startswith('backbone_heads'):
        assert found.features is None
    else:
        error = (found.features - wanted.features).abs().max() / wanted.features.abs().max()
        assert error < 1e-3


def test_openvino_computes_what_onnx_runtime_computes(street_files):
    points = simulated_points(3, 4, 'hdl64')
    names = ('backbone_heads.onnx', 'backbone_heads.xml')
    first, second = (
        Detector('street', *STREET, exported_network=street_files(name)) for name in names
    )
    pillars = first.runner.encode_points(points)[:2]
    maps = [each.runner.extract_features(*pillars, each.grid.shape) for each in (first, second)]
    # OpenVINO files hold weights in float16.
    assert (maps[0] - maps[1]).norm() / maps[0].norm() < 0.02
    assert second.runner.backbone.statistics.path == 'openvino'
    objects = [len(each(points, MIN_SCORES).scores) for each in (first, second)]
    assert objects[0] > 2 and abs(objects[0] - objects[1]) <= 1


def test_the_second_stage_gets_the_candidates_and_first_scores_of_pytorch(street_files):
    points = simulated_points(3, 4, 'hdl64')
    candidates = []
    for exported in ('', street_files('backbone_heads.onnx')):
        runner = Detector('street', *STREET, exported_network=exported).runner
        pillars = runner.encode_points(points)
        features = runner.extract_features(pillars.features, pillars.cells, runner.grid.shape)
        # The scores of reported objects do not matter.
        found = runner.detect(features, runner.feature_grid, (0.9,) * 3).detections
        candidates.append(found)
    wanted, found = candidates
    assert wanted.scores.min() < 0.1 and wanted.scores.min() >= MIN_CANDIDATE_SCORE
    # A candidate whose score is that limit may be on either side of it.
    count = int((wanted.scores > MIN_CANDIDATE_SCORE + 1e-4).sum())
    assert count > 10
    torch.testing.assert_close(found.scores[:count], wanted.scores[:count], atol=1e-4, rtol=0)
    assert torch.equal(found.labels[:count], wanted.labels[:count])


def test_heads_that_are_not_wanted_are_left_out(weights: Path, files: dict[str, Path]):
    models = LoadedModels.from_file(weights, *SMALL, exported_network=files['backbone_heads'])
    assert models.heads is not None
    heads = torch.nn.ModuleDict({'drivable': models.heads['drivable']})
    runner = build_runner(replace(models, heads=heads), ExecutionConfig(CPU, threads=1))
    outputs = runner(np.zeros((4, 4), np.float32), MIN_SCORES).heads
    assert list(outputs) == ['drivable']
    assert not runner.has_features


def test_pseudo_images_of_a_batch(weights: Path, files: dict[str, Path]):
    models = LoadedModels.from_file(weights, *SMALL)
    images = torch.rand(2, 8, 12, 20, generator=torch.Generator().manual_seed(0))
    config = ExecutionConfig(CPU, threads=1)
    wanted = build_runner(models, config).extract_features_dense(images).clone()
    exported = replace(models, exported_network=files['backbone'])
    runner = build_runner(exported, config)
    for image in (images, images.double(), images.to(memory_format=torch.channels_last)):
        found = runner.extract_features_dense(image)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    # Results of a call outlive the next one, as those of BackboneRunner.
    runner.extract_features_dense(images * 0)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert isinstance(runner.backbone, ExportedBackbone)
    statistics = runner.backbone.statistics
    assert (statistics.path, statistics.precision) == ('onnxruntime', 'float32')
    assert (runner.backbone.channels, runner.backbone.stride) == (8, 2)
    for wrong, message in (
        (images[:, :3], 'channel size is 3; expected 8'),
        (images[0], 'expected (B, C, H, W)'),
        (images.long(), 'expected a float dtype'),
    ):
        with pytest.raises(TinyBevError) as caught:
            runner.extract_features_dense(wrong)
        assert message in str(caught.value)


def test_maps_beyond_the_free_memory_are_refused(weights, files, monkeypatch):
    models = LoadedModels.from_file(weights, *SMALL, exported_network=files['backbone'])
    runner = build_runner(models, ExecutionConfig(CPU, threads=1))
    monkeypatch.setattr('tiny_bev_ros.inference.memory.free_bytes', lambda device: 1000)
    with pytest.raises(TinyBevError, match='map of 64 x 64 cells takes'):
        runner.extract_features_dense(torch.zeros(1, 8, 64, 64))


def test_no_setting_needs_less_memory(weights, files):
    models = LoadedModels.from_file(weights, *SMALL, exported_network=files['backbone'])
    builder = ModelBuilder(models, lambda: (32, 32))
    config = ExecutionConfig(CPU)
    needs = {
        builder.needed_bytes(replace(config, precision=precision, sparsity=sparsity))
        for precision in ('float32', 'bfloat16')
        for sparsity in ('auto', 'always', 'never')
    }
    assert len(needs) == 1 and needs.pop() > 0


@pytest.mark.parametrize('threads', [0, 1, 2])
def test_the_runtime_gets_the_threads(weights, files, monkeypatch, threads: int):
    given: list[int] = []

    class Noted(exported_runtimes.OnnxRuntime):
        def __init__(self, path: Path, threads: int) -> None:
            given.append(threads)
            super().__init__(path, threads)

    monkeypatch.setitem(exported_builder.RUNTIMES, '.onnx', Noted)
    models = LoadedModels.from_file(weights, *SMALL, exported_network=files['backbone'])
    build_runner(models, ExecutionConfig(CPU, threads=threads))
    assert given == [threads or torch.get_num_threads()]


def test_idle_threads_of_onnx_runtime_do_not_spin(files):
    options = exported_runtimes.OnnxRuntime(files['backbone'], 2)._session.get_session_options()
    assert options.get_session_config_entry('session.force_spinning_stop') == '1'


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        (
            'absent.onnx',
            "backbone.exported_network is 'absent.onnx'; expected a .onnx or .xml file",
        ),
        (__file__, f"backbone.exported_network is '{__file__}'; expected a .onnx or .xml file"),
    ],
)
def test_a_path_without_an_export_is_refused(weights: Path, path: str, message: str):
    with pytest.raises(TinyBevError) as caught:
        Detector(weights, *SMALL, exported_network=path)
    assert str(caught.value).startswith(message)


def test_a_broken_file_is_refused(weights: Path, tmp_path: Path):
    path = tmp_path / 'broken.onnx'
    path.write_bytes(b'none')
    with pytest.raises(TinyBevError, match=r"broken\.onnx', which onnxruntime cannot read \("):
        Detector(weights, *SMALL, exported_network=path)


def test_a_missing_runtime_is_named(weights, files, monkeypatch):
    missing = OptionalModule(None, 'onnxruntime is not installed')
    monkeypatch.setattr(exported_runtimes, 'import_optional', lambda name: missing)
    with pytest.raises(TinyBevError) as caught:
        Detector(weights, *SMALL, exported_network=files['backbone'])
    assert str(caught.value) == (
        f"backbone.exported_network is '{files['backbone']}', but onnxruntime is not installed; "
        'expected it for exported networks: pip install onnxruntime'
    )


@pytest.mark.parametrize('name', ['backbone', 'backbone_heads'])
def test_other_weights_are_refused(files, tmp_path: Path, name: str):
    other = save_with_second_stage(tmp_path / 'other.safetensors', seed=1)
    own = LoadedModels.from_file(other).digests['backbone']
    with pytest.raises(TinyBevError) as caught:
        Detector(other, *SMALL, exported_network=files[name])
    assert f'expected {own[:12]}, as the weights of the backbone: export' in str(caught.value)


def test_files_without_a_digest_are_refused(weights: Path, tmp_path: Path):
    path = write_onnx(replace(parts_of(weights)['backbone'], metadata={}), tmp_path / 'x.onnx')
    with pytest.raises(TinyBevError, match='made from weights of SHA-256 unknown; expected'):
        Detector(weights, *SMALL, exported_network=path)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'device': 'cuda'}, "device is 'cuda'; expected auto or cpu, on which an exported"),
        ({'precision': 'bfloat16'}, "backbone.precision is 'bfloat16'; expected float32 with"),
    ],
)
def test_other_settings_than_cpu_and_float32_are_refused(
    weights, files, options: dict[str, Any], message: str
):
    with pytest.raises(TinyBevError) as caught:
        Detector(weights, *SMALL, exported_network=files['backbone'], **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('backbone_heads', {'heads': None}, 'expected bev_features, as there are no heads'),
        ('backbone_heads', {'fusion': torch.nn.Identity()}, 'as cameras are fused with them'),
        ('pfn', {}, 'with the outputs pillar_features; expected bev_features'),
    ],
)
def test_missing_outputs_are_refused(weights, files, name: str, change: Any, message: str):
    models = replace(
        LoadedModels.from_file(weights, *SMALL, exported_network=files[name]), **change
    )
    with pytest.raises(TinyBevError) as caught:
        build_runner(models, ExecutionConfig(CPU))
    assert message in str(caught.value)


def test_a_head_that_the_file_lacks_is_refused(weights, files, monkeypatch):
    monkeypatch.setitem(exported_builder.HEAD_MAPS, 'drivable', ('lanes',))
    with pytest.raises(TinyBevError, match='expected scores, boxes, lanes, as the heads need'):
        Detector(weights, *SMALL, exported_network=files['backbone_heads'])
    monkeypatch.delitem(exported_builder.HEAD_MAPS, 'drivable')
    with pytest.raises(TinyBevError, match=r'heads are .*drivable.* expected some of detection$'):
        Detector(weights, *SMALL, exported_network=files['backbone_heads'])


def test_network_and_settings_without_effect_are_logged(weights, files, caplog):
    caplog.set_level(logging.INFO, 'tiny_bev_ros')
    models = LoadedModels.from_file(weights, *SMALL, exported_network=files['backbone_heads'])
    build_runner(models, ExecutionConfig(CPU, threads=1))
    assert caplog.messages == [
        f'backbone.exported_network: {files["backbone_heads"]} (backbone and heads in '
        'onnxruntime, float32, threads 1)',
        'backbone.sparsity has no effect: an exported network computes every cell',
    ]


@pytest.mark.parametrize(
    ('line', 'slow'),
    [
        ('flags\t\t: fpu avx2 avx512_vnni', False),
        ('flags\t\t: fpu avx2', True),
        ('Features\t: fp asimd asimddp', False),
        ('Features\t: fp asimd', True),
        ('', False),
    ],
)
def test_int8_without_instructions_is_logged(weights, tmp_path, monkeypatch, caplog, line, slow):
    path = write_onnx(
        replace(parts_of(weights)['backbone'], number_format='int8'), tmp_path / 'x.onnx'
    )
    models = LoadedModels.from_file(weights, *SMALL, exported_network=path)
    read = Path.read_text

    def read_text(path: Path, *args: Any, **keywords: Any) -> str:
        return line if str(path) == '/proc/cpuinfo' else read(path, *args, **keywords)

    monkeypatch.setattr(Path, 'read_text', read_text)
    assert cpu_flags.lacks_int8_products() == slow
    runner = build_runner(models, ExecutionConfig(CPU, threads=1))
    assert runner.backbone.statistics.precision == 'int8'
    assert ('the network may be slower and less exact' in caplog.text) == slow
