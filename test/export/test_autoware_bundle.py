# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bundles for Autoware: complete, of the schemas' types, exact, and of about equal objects."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from optional_packages import require_packages

require_packages('onnx', 'onnxruntime', 'safetensors')

import onnx

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export import autoware_parity
from tiny_bev_ros.export.autoware_agreement import Agreement, add_sweep, detected, to_base_link
from tiny_bev_ros.export.autoware_bundle import export
from tiny_bev_ros.export.autoware_emulation import EmulatedNode
from tiny_bev_ros.export.autoware_networks import HEAD_OUTPUTS
from tiny_bev_ros.export.autoware_options import AutowareOptions, add_arguments
from tiny_bev_ros.export.autoware_parameters import read_parameters
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.export.exported_parts import describe
from tiny_bev_ros.inference import exported_runtimes
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.models import TinyBEVBackbone, seeded
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, save_weights
from tiny_bev_ros.optional_imports import OptionalModule
from tiny_bev_ros.resources import weights_file
from tiny_bev_ros.sim import LIDARS, ego_pose, scan, street, street_plan

HEIGHT = 1.73
SIDE = (-51.2, 51.2)
FILES = [
    'pts_voxel_encoder.onnx',
    'pts_backbone_neck_head.onnx',
    'ml_package.param.yaml',
    'detection_class_remapper.param.yaml',
    'centerpoint_common.param.yaml',
    'deploy_metadata.yaml',
]
SMALL: Any = {'x_range': (-6.4, 6.4), 'y_range': (-3.2, 3.2)}
# Types of the parameters by the node's schemas, which ROS 2 does not convert.
MANIFEST = {
    'version': str,
    'encoder_onnx_path': str,
    'encoder_engine_path': str,
    'head_onnx_path': str,
    'head_engine_path': str,
    'class_remapper_param_path': str,
    'trt_precision': str,
    'model_params': {
        'class_names': [str] * 3,
        'point_feature_size': int,
        'max_voxel_size': int,
        'point_cloud_range': [float] * 6,
        'voxel_size': [float] * 3,
        'downsample_factor': int,
        'encoder_in_feature_size': int,
        'has_variance': bool,
        'has_twist': bool,
        'yaw_norm_thresholds': [float] * 3,
        'detection_score_thresholds': {
            'distance_bin_upper_limits': [float],
            'min_confidence_scores': {
                'CAR': [float],
                'PEDESTRIAN': [float],
                'BICYCLE': [float],
            },
        },
    },
}
REMAPPER = {
    'allow_remapping_by_area_matrix': [int] * 64,
    'min_area_matrix': [float] * 64,
    'max_area_matrix': [float] * 64,
}
COMMON = {
    'cloud_capacity': int,
    'post_process_params': {
        'circle_nms_dist_threshold': float,
        'iou_nms_search_distance_2d': float,
        'iou_nms_threshold': float,
    },
    'densification_params': {'world_frame_id': str, 'num_past_frames': int},
    'diagnostics': {
        'max_allowed_processing_time_ms': float,
        'max_acceptable_consecutive_delay_ms': float,
        'validation_callback_interval_ms': float,
    },
}


@pytest.fixture(scope='module')
def report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(AutowareOptions(), tmp_path_factory.mktemp('autoware') / 'street')


@pytest.fixture(scope='module')
def folder(report: ExportReport) -> Path:
    return report.files[0].parent


@pytest.fixture(scope='module')
def detector() -> Detector:
    return Detector('street', SIDE, SIDE, device='cpu', sensor_height=HEIGHT, refine_boxes=False)


def types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: types(each) for key, each in value.items()}
    return [types(each) for each in value] if isinstance(value, list) else type(value)


def test_a_bundle_is_complete(report: ExportReport, folder: Path):
    assert [file.name for file in report.files] == FILES
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(
    ('name', 'wanted'), list(zip(FILES[2:5], (MANIFEST, REMAPPER, COMMON), strict=True))
)
def test_parameters_have_the_types_of_the_schemas(folder: Path, name: str, wanted: Any):
    assert types(read_parameters(folder / name)) == wanted
    assert list(yaml.safe_load((folder / name).read_text())) == ['/**']


def test_values_of_the_manifest(folder: Path):
    values = read_parameters(folder / 'ml_package.param.yaml')
    assert values['version'] == 'v4.1'
    assert values['trt_precision'] in ('fp16', 'fp32')
    model = values['model_params']
    assert model['point_cloud_range'] == [-51.2, -51.2, -1.27, 51.2, 51.2, 3.73]
    assert model['voxel_size'] == [0.2, 0.2, 5.0]
    assert (model['downsample_factor'], model['encoder_in_feature_size']) == (2, 10)
    # The farthest corner of the grid lies within the last distance.
    assert model['detection_score_thresholds']['distance_bin_upper_limits'][-1] > 51.2 * 2**0.5
    assert all(0 <= norm < 1 for norm in model['yaw_norm_thresholds'])
    common = read_parameters(folder / 'centerpoint_common.param.yaml')
    assert common['densification_params']['num_past_frames'] == 0


def test_large_vehicles_become_trucks_and_trailers(folder: Path):
    values = read_parameters(folder / 'detection_class_remapper.param.yaml')
    allowed = np.reshape(values['allow_remapping_by_area_matrix'], (8, 8))
    assert np.argwhere(allowed).tolist() == [[1, 2], [1, 4]]
    low, high = (np.reshape(values[f'{end}_area_matrix'], (8, 8)) for end in ('min', 'max'))
    assert (low < high)[allowed > 0].all()


def test_metadata_has_origin_and_licence(folder: Path):
    metadata = yaml.safe_load((folder / 'deploy_metadata.yaml').read_text())
    assert metadata['version'] == 'v4.1'
    assert metadata['tiny_bev_ros']['licence'] == 'Apache-2.0'
    assert {'version', 'commit'} < set(metadata['tiny_bev_ros'])
    content = Path(weights_file('street')).read_bytes()
    assert metadata['weights']['sha256'] == hashlib.sha256(content).hexdigest()
    assert json.dumps(metadata['onnx'])


def test_networks_name_their_weights_as_those_of_other_exports(folder: Path):
    weights = Path(weights_file('street'))
    wanted = describe(weights, LoadedModels.from_file(weights)) | {'number_format': 'float32'}
    # The ground of the bundle's clouds is at z = 0.
    del wanted['levelled_ground_z_m']
    for name in FILES[:2]:
        model = onnx.load(folder / name)
        assert {each.key: each.value for each in model.metadata_props} == wanted


def dimensions(value: Any) -> list[Any]:
    return [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]


def test_networks_have_names_and_dynamic_axes(folder: Path):
    encoder, head = (onnx.load(folder / name) for name in FILES[:2])
    for model in (encoder, head):
        onnx.checker.check_model(model, full_check=True)
        assert [each.version for each in model.opset_import if not each.domain] == [17]
    assert [each.name for each in encoder.graph.input] == ['input_features']
    assert dimensions(encoder.graph.input[0]) == ['num_voxels', 'num_max_points', 10]
    assert [each.name for each in encoder.graph.output] == ['pillar_features']
    assert dimensions(encoder.graph.output[0]) == ['num_voxels', 1, 32]
    assert [each.name for each in head.graph.input] == ['spatial_features']
    assert dimensions(head.graph.input[0]) == ['batch_size', 32, 'H', 'W']
    assert [each.name for each in head.graph.output] == list(HEAD_OUTPUTS)
    channels = [dimensions(each)[1] for each in head.graph.output]
    assert channels == list(HEAD_OUTPUTS.values())


def test_errors_are_small(report: ExportReport):
    assert len(report.rows) == 7
    assert all(row.error <= row.tolerance == 1e-4 for row in report.rows)


def test_networks_run_at_another_size(folder: Path):
    node = EmulatedNode(folder)
    canvas = np.random.default_rng(0).random((2, 32, 48, 80), np.float32)
    both = node.run_head(canvas)
    alone = node.run_head(canvas[1:])
    for name, channels in HEAD_OUTPUTS.items():
        assert both[name].shape == (2, channels, 24, 40)
        assert np.allclose(both[name][1:], alone[name], atol=1e-4)


def test_a_bundle_is_reproducible(tmp_path: Path):
    for name in ('one', 'other'):
        export(AutowareOptions(**SMALL), tmp_path / name)
    for file in FILES:
        assert (tmp_path / 'one' / file).read_bytes() == (tmp_path / 'other' / file).read_bytes()


def compare(folder: Path, detector: Detector, clouds: list[np.ndarray], seeds: str) -> Agreement:
    node, agreement = EmulatedNode(folder), Agreement()
    for points in clouds:
        wanted = detected(detector, points, HEIGHT, 0.3)
        add_sweep(agreement, node, to_base_link(points, HEIGHT), wanted)
    print(f'{seeds}: {agreement}')
    return agreement


def test_objects_of_simulated_streets_agree(folder: Path, detector: Detector):
    clouds = [
        scan(street(seed), LIDARS['hdl64'], ego_pose(street_plan(seed), 0.0)).points
        for seed in (5, 6, 7, 8)
    ]
    agreement = compare(folder, detector, clouds, '4 streets')
    assert agreement.total > 20
    # The node keeps one of two people within 0.5 m, and these streets have many.
    assert agreement.fraction >= 0.9, str(agreement)


def test_objects_of_real_sweeps_agree(folder: Path, detector: Detector, data_dir: Path):
    paths = sorted((data_dir / 'kitti/velodyne').glob('*.bin'))
    clouds = [np.fromfile(path, np.float32).reshape(-1, 4) for path in paths]
    agreement = compare(folder, detector, clouds, f'{len(clouds)} sweeps')
    assert agreement.total > 20
    assert agreement.fraction >= 0.95, str(agreement)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'sensor_height': 2.1}, r'sensor_height is 2\.1; expected 1\.73'),
        ({'x_range': (-6.4, 6.2), 'y_range': (-3.2, 3.2)}, '63 cells; expected a multiple of 2'),
        ({'max_voxels': 0}, 'max_voxels is 0'),
        ({'min_scores': (0.3,)}, 'min_scores are 1; expected 3'),
        ({'min_scores': (0.3, 1.0, 0.3)}, r'min_scores are \[0\.3, 1\.0, 0\.3\]; expected 0'),
        ({'weights': 'nowhere'}, "weights is 'nowhere'; expected street"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: Any, message: str):
    with pytest.raises(TinyBevError, match=message):
        export(AutowareOptions(**options), tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """Weights that were not trained on levelled clouds."""
    fields = {'backbone': 'tiny', 'mid_channels': 8, 'out_channels': 16, 'heads': ['detection']}
    with seeded(0):
        network = build_detector(**{**fields, 'heads': ('detection',)})
    path = tmp_path / 'own.safetensors'
    save_weights(path, network, CheckpointMetadata(fields, 0.4, (-2.0, 1.2), {}))
    return path


def test_own_weights_have_their_own_height(own_weights: Path, tmp_path: Path):
    options = AutowareOptions(own_weights, 0.6, max_voxels=50)
    report = export(options, tmp_path / 'bundle')
    model = read_parameters(tmp_path / 'bundle/ml_package.param.yaml')['model_params']
    assert model['point_cloud_range'] == [-102.4, -102.4, -1.4, 102.4, 102.4, 1.8]
    assert model['voxel_size'] == [0.4, 0.4, 3.2]
    metadata = yaml.safe_load((tmp_path / 'bundle/deploy_metadata.yaml').read_text())
    assert metadata['sensor_height'] == 0.6
    assert metadata['weights']['name'] == 'own.safetensors'
    assert len(report.rows) == 7


def test_an_operator_that_onnx_lacks_is_refused(
    own_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TinyBEVBackbone, 'forward', lambda _, x: torch.linalg.pinv(x))
    with pytest.raises(TinyBevError, match=r'pts_backbone_neck_head\.onnx cannot be written \('):
        export(AutowareOptions(own_weights, **SMALL), tmp_path)


def test_options_of_the_program(tmp_path: Path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args([])
    defaults = AutowareOptions()
    assert (options.sensor_height, options.max_voxels) == (1.73, defaults.max_voxels)
    assert tuple(options.min_scores) == defaults.min_scores
    words = '--x-range -3.2 3.2 --y-range -3.2 3.2 --max-voxels 9 --min-scores 0.2 0.3 0.4'
    options = parser.parse_args(words.split(), argparse.Namespace(weights='street'))
    report = export(options, tmp_path)
    model = read_parameters(tmp_path / 'ml_package.param.yaml')['model_params']
    assert model['point_cloud_range'] == [-3.2, -3.2, -1.27, 3.2, 3.2, 3.73]
    assert model['max_voxel_size'] == 9
    scores = {'CAR': [0.2], 'PEDESTRIAN': [0.3], 'BICYCLE': [0.4]}
    assert model['detection_score_thresholds']['min_confidence_scores'] == scores
    assert any('pillars of at most 9' in note for note in report.notes)


def test_an_error_above_the_tolerance_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(autoware_parity, 'TOLERANCE', -1.0)
    with pytest.raises(TinyBevError, match=r'pillar_features has an error of .*expected at most'):
        export(AutowareOptions(**SMALL), tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> OptionalModule:
        return OptionalModule(None, f'{name} is not installed')

    monkeypatch.setattr(exported_runtimes, 'import_optional', missing)
    with pytest.raises(TinyBevError, match='onnx is not installed; expected it'):
        export(AutowareOptions(), tmp_path)
