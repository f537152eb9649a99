# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameter backbone.exported_network: results of nodes and of extract, refusals, diagnostics."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime')

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from log_recorder import Recorder
from node_bench import ONE_CAMERA, SMALL, Bench, until, values_of
from second_stages import save_with_second_stage
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.exported_parts import build_parts, describe
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.simulated_inputs import simulated_points
from tiny_bev_ros.inference.exported_runners import ExportedBackbone
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import decode_tensor
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.detector_factory import make_detector
from tiny_bev_ros.nodes.parameter_files import read_parameters
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.resources import weights_file

RANGES = ((-16.0, 16.0), (-12.8, 12.8))
STREET: dict[str, Any] = {
    'weights': 'street',
    'grid.x_range': list(RANGES[0]),
    'grid.y_range': list(RANGES[1]),
    'device': 'cpu',
    'num_threads': 1,
}
NETWORK: dict[str, Any] = {
    'weights': 'none',
    'pfn.out_channels': 8,
    'backbone.in_channels': 8,
    'backbone.mid_channels': 8,
    'backbone.out_channels': 8,
}


def export(weights: Path, folder: Path) -> dict[str, str]:
    models = LoadedModels.from_file(weights)
    parts = build_parts(models, describe(weights, models))[:2]
    return {part.name: str(write_onnx(part, folder / f'{part.name}.onnx')) for part in parts}


@pytest.fixture(scope='module')
def street_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return export(Path(weights_file('street')), tmp_path_factory.mktemp('street'))


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_second_stage(tmp_path_factory.mktemp('weights') / 'weights.safetensors')


@pytest.fixture(scope='module')
def files(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return export(weights, tmp_path_factory.mktemp('files'))


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []
    threads = torch.get_num_threads()

    def make(node_class: Any, number: int, **values: Any) -> Bench:
        made.append(Bench(node_class, number, **values))
        return made[-1]

    yield make
    for each in made:
        each.close()
    torch.set_num_threads(threads)


@pytest.mark.parametrize('name', ['backbone_heads', 'backbone'])
def test_objects_of_the_node_are_those_of_the_detector(
    street_files, bench, tmp_path: Path, name: str, capfd
):
    points = simulated_points(3, 4, 'hdl64')
    made = bench(PipelineNode, 60, **STREET, **{'backbone.exported_network': street_files[name]})
    boxes: list[Any] = []
    made.other.create_subscription(Float32MultiArray, 'detection_boxes', boxes.append, 10)
    node = made.node
    made.message = lambda *_: encode_cloud(points, (1, 0), 'lidar')
    assert node.start(), node.fault
    until(lambda: bool(made.send() or boxes))
    found, wanted = decode_detection_boxes(boxes[0]), Detector('street', *RANGES)(points)
    assert len(wanted.boxes) > 2
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)

    values = values_of(node)
    assert (values['path'], values['precision']) == ('onnxruntime', 'float32')
    assert int(values['frames_onnxruntime']) >= 1
    log = capfd.readouterr().err
    configured = 'configured: on cpu, grid of 128 x 160 cells, exported network '
    assert f'{configured}{street_files[name]}' in log
    has_features = name == 'backbone'
    assert ('bev_features' in node._features.subscribed()) == has_features
    withheld = (
        'bev_features, bev_image: nothing is published, as backbone.exported_network computes'
    )
    assert (withheld in log) != has_features

    # Other weights and precisions are refused, and the node goes on.
    refused = made.change(backbone__precision='bfloat16')
    assert (
        "backbone.precision is 'bfloat16'; expected float32 with backbone.exported_network"
        in refused
    )
    other = save_with_second_stage(tmp_path / 'other.safetensors')
    assert made.change(backbone__checkpoint=str(other)) != ''
    assert made.change(backbone__sparsity='never') == ''
    node.models.release()
    boxes.clear()
    until(lambda: bool(made.send() or boxes))
    assert isinstance(node.models.fallback.runner.backbone, ExportedBackbone)


def test_other_weights_of_the_heads_are_refused_where_the_file_has_heads(
    weights, files, bench, tmp_path: Path
):
    checkpoints = {f'{part}.checkpoint': str(weights) for part in ('pfn', 'backbone', 'heads')}
    values = SMALL | NETWORK | checkpoints | {'backbone.exported_network': files['backbone_heads']}
    made = bench(PipelineNode, 61, **values)
    assert made.node.start(), made.node.fault
    other = save_with_second_stage(tmp_path / 'other.safetensors', seed=1)
    for part in ('backbone', 'heads'):
        refused = made.change(**{f'{part}__checkpoint': str(other)})
        assert f'as the weights of the {part}: export them again' in refused
    assert made.change(pfn__checkpoint=str(other)) == ''


def test_features_of_backbone_node_are_those_of_pytorch(weights, files, bench):
    checkpoint = {
        'backbone.checkpoint': str(weights),
        'backbone.exported_network': files['backbone'],
    }
    own = {name: value for name, value in NETWORK.items() if not name.startswith('pfn')}
    made = bench(BackboneNode, 62, device='cpu', **own, **checkpoint)
    made.channels = 8
    assert made.node.start(), made.node.fault
    found = made.frame(1)
    backbone = LoadedModels.from_file(weights).backbone
    with torch.no_grad():
        wanted = backbone(torch.from_numpy(decode_tensor(made.message(1)).array.copy()))
    assert np.abs(found - wanted.numpy()).max() < 1e-4
    assert values_of(made.node)['path'] == 'onnxruntime'


def test_files_and_settings_that_do_not_fit_are_refused_at_the_start(weights, files, bench):
    checkpoints = {f'{part}.checkpoint': str(weights) for part in ('pfn', 'backbone', 'heads')}
    values = SMALL | NETWORK | checkpoints | {'backbone.exported_network': files['backbone_heads']}
    made = bench(PipelineNode, 63, **values, **ONE_CAMERA)
    for change, fault in (
        ({'seed': 1}, 'expected bev_features, as cameras are fused with them'),
        ({'cameras': [''], 'backbone.checkpoint': ''}, 'expected random, seed 1, as the weights'),
        (
            {'backbone.exported_network': 'absent.onnx'},
            "backbone.exported_network is 'absent.onnx'; expected a",
        ),
        ({'device': 'cuda'}, "device is 'cuda'; expected auto or cpu, on which an exported"),
    ):
        assert made.change(**{name.replace('.', '__'): x for name, x in change.items()}) == ''
        assert not made.node.start()
        assert fault in made.node.fault


def test_extract_has_the_results_of_the_exported_network(weights, files):
    given = {
        'grid.x_range': [0.0, 16.0],
        'grid.y_range': [-8.0, 8.0],
        'device': 'auto',
        'num_threads': 1,
        'backbone.exported_network': files['backbone_heads'],
    }
    log = Recorder()
    threads = torch.get_num_threads()
    try:
        detector = make_detector(
            read_parameters('pipeline_node', [], given, weights=weights),
            log,  # type: ignore[arg-type]
        )
    finally:
        torch.set_num_threads(threads)
    assert log.lines[0] == 'device: computing on cpu, as backbone.exported_network runs there'
    points = np.random.default_rng(0).uniform([0, -8, -3, 0], [16, 8, 1, 1], (500, 4))
    found = detector.detect_local(points.astype(np.float32))
    own = Detector(weights, (0, 16), (-8, 8), exported_network=files['backbone_heads'])
    wanted = own(points.astype(np.float32))
    assert len(wanted.boxes) > 3
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-4)
    assert found.features is None
    given['device'] = 'cuda'
    with pytest.raises(TinyBevError, match="device is 'cuda'; expected auto or cpu, on which"):
        make_detector(read_parameters('pipeline_node', [], given, weights=weights))
