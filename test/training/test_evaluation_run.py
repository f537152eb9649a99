# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Evaluation: values for JSON, tables, calibration of a weight file, errors of the program."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba', 'safetensors')

import hashlib
import json
import sys
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.metadata import load_weights, read_metadata, save_weights
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.models.heads.head_registry import map_heads
from tiny_bev_ros.resources import weights_file
from tiny_bev_ros.training import calibrate as calibrate_module
from tiny_bev_ros.training import evaluate as evaluate_module
from tiny_bev_ros.training import evaluation_run
from tiny_bev_ros.training.calibrate import calibrate
from tiny_bev_ros.training.evaluate import as_json, main, run_sets
from tiny_bev_ros.training.evaluation import Score, simulated_eval_frame
from tiny_bev_ros.training.evaluation_report import (
    accuracy_table,
    report,
    score_values,
    second_stage_table,
    summary_table,
)
from tiny_bev_ros.training.evaluation_run import Result, evaluation_min_scores
from tiny_bev_ros.training.evaluation_sets import RECORDED, EvaluationFrames
from tiny_bev_ros.training.labelled_frame import Frame

CARS = np.array([[10, 0, 0, 4, 2, 1.5, 0], [20, 5, 0, 4, 2, 1.5, 1]], np.float32)


def scored(frames=4):
    """A Score of frames with two cars, of which the first is found, and one wrong car."""
    score = Score()
    points = np.repeat(CARS[:, :3], 6, axis=0)
    points = np.column_stack([points, np.zeros(len(points))]).astype(np.float32)
    ids = np.repeat(np.arange(2, dtype=np.int32), 6)
    frame = Frame(points, ids, CARS, np.zeros(2, np.int64), whole=True)
    boxes = torch.from_numpy(CARS[[0, 0]])
    boxes[1, :2] += 20
    found = Detections(boxes, torch.tensor([0.8, 0.4]), torch.zeros(2, dtype=torch.long))
    for _ in range(frames):
        score.add(simulated_eval_frame('0', frame), found)
        score.add_area(np.array([1, 1, 0]) > 0, np.array([1, 0, 0]) > 0, np.ones(3, bool))
    return score


def evaluation_of(*results):
    return {'confidence': 0.95, 'resamples': 1000, 'results': [*results], 'left_out': {}}


def result_of(name, second_stage=None, frames=4):
    values = score_values(scored(frames), [3.0] * frames)
    return {'set': name, 'title': f'{name} title', 'second_stage': second_stage, **values}


def test_values_are_those_of_the_score_with_intervals():
    values = json.loads(json.dumps(score_values(scored(), [1.0, 2.0, 3.0, 40.0]), allow_nan=False))
    assert (values['frames'], values['median_ms']) == (4, 2.5)
    assert values['drivable_iou'] == {'value': 0.5, 'low': 0.5, 'high': 0.5}
    # Eight detections in two bins: 0.8 of hits, 0.4 of errors.
    assert values['calibration_error']['all'] == pytest.approx((0.2 + 0.4) / 2)
    assert values['calibration_error']['pedestrian'] is None
    rows = {(r['class'], r['view'], r['min_iou']): r for r in values['average_precision']}
    assert len(rows) == 18
    assert rows['vehicle', 'bev', 0.7] == {
        'objects': 'visible',
        'class': 'vehicle',
        'view': 'bev',
        'min_iou': 0.7,
        'number': 8,
        'value': 0.5,
        'low': 0.5,
        'high': 0.5,
    }
    assert rows['cyclist', '3d', 0.5]['value'] is None


def test_one_frame_has_no_interval():
    row = score_values(scored(1), [1.0])['average_precision'][0]
    assert (row['value'], row['low'], row['high']) == (0.5, None, None)
    assert '| 0.500 |' in accuracy_table([result_of('nuscenes', frames=1)])


def test_tables():
    results = [result_of('sim'), result_of('low')]
    lines = accuracy_table(results).splitlines()
    assert lines[0].startswith('| set | objects | class | number | BEV 0.25 | BEV 0.5 | BEV 0.7 ')
    figures = ' | '.join(['0.500 (0.50-0.50)'] * 6)
    assert lines[2:] == [
        f'| {name} | visible | vehicle | 8 | {figures} |' for name in ('sim', 'low')
    ]
    assert accuracy_table(results, 'easy').splitlines() == lines[:2]
    assert summary_table(results).splitlines()[2] == (
        '| sim | sim title | 4 | 0.500 (0.50-0.50) | 0.300 | 3.0 |'
    )
    assert '3.0' not in summary_table(results, times=False)
    evaluation = {
        **evaluation_of(*results),
        'left_out': {'livox': 'lidar is missing; expected it'},
    }
    text = report(evaluation)
    assert accuracy_table(results) in text and summary_table(results) in text
    assert '95% intervals' in text and 'livox left out: lidar is missing; expected it.' in text


def test_both_stages_are_compared():
    assert second_stage_table([result_of('sim'), result_of('low')]) == ''
    both = [result_of('sim', True), result_of('sim', False), result_of('low', True)]
    lines = second_stage_table(both).splitlines()
    assert lines[2:] == ['| sim | vehicle | ' + ' | '.join(['0.500, 0.500'] * 6) + ' |']
    assert '| sim, without second stage | visible |' in accuracy_table(both)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """Shipped weights without a second stage and without a score calibration."""
    network, metadata = load_weights(weights_file('street'))
    heads = map_heads(network.heads)
    network.heads = torch.nn.ModuleDict(heads)
    network.heads['detection'].calibration.reset()
    path = tmp_path_factory.mktemp('plain') / 'plain.safetensors'
    save_weights(path, network, replace(metadata, network={**metadata.network, 'heads': [*heads]}))
    return path


def test_least_scores_are_those_before_calibration(plain):
    network, _ = load_weights(plain)
    assert evaluation_min_scores(network) == pytest.approx((0.05,) * 3)
    calibration = network.heads['detection'].calibration
    calibration.scale.copy_(torch.tensor([1.0, 2.0, 0.5]))
    calibration.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    logit = np.log(0.05 / 0.95)
    expected = [1 / (1 + np.exp(1 - logit)), 1 / (1 + np.exp(-2 * logit)), 0.05]
    assert evaluation_min_scores(network) == pytest.approx(expected)


@pytest.fixture
def hits(monkeypatch):
    """Scores and hits for a calibration: scores are sigmoid(x), right with sigmoid(2 x - 1)."""
    random = np.random.default_rng(0)
    logits = {kind: random.normal(0, 2, 20_000) for kind in CLASSES}
    found = {
        kind: (1 / (1 + np.exp(-x)), random.random(len(x)) < 1 / (1 + np.exp(1 - 2 * x)))
        for kind, x in logits.items()
    }
    result = Result()
    monkeypatch.setattr(result.score, 'hits', lambda: found)
    monkeypatch.setattr(calibrate_module, 'evaluate', lambda *arguments: result)
    return found


def test_the_fit_is_written_into_a_weight_file(tmp_path, hits, plain):
    path = tmp_path / 'calibrated.safetensors'
    lines = calibrate(plain, path, 3)
    assert [line.partition(':')[0] for line in lines] == list(CLASSES)
    network, metadata = load_weights(path)
    calibration = network.heads['detection'].calibration
    assert calibration.scale.tolist() == pytest.approx([2] * 3, abs=0.1)
    assert calibration.bias.tolist() == pytest.approx([-1] * 3, abs=0.1)
    # Nothing else has changed.
    before, after = load_file(plain), load_file(path)
    assert after.keys() == before.keys()
    for key, value in before.items():
        assert 'calibration' in key or torch.equal(after[key], value), key
    old = read_metadata(plain)
    assert (metadata.network, metadata.cell) == (old.network, old.cell)
    record = {'head': 'detection', 'streets': 3, 'first_seed': 500_000}
    assert metadata.origin == {**old.origin, 'calibration': record}


def test_a_second_fit_follows_the_first(tmp_path, hits, plain):
    calibrate(plain, tmp_path / 'one.safetensors', 3)
    calibrate(tmp_path / 'one.safetensors', tmp_path / 'two.safetensors', 3)
    calibration = load_weights(tmp_path / 'two.safetensors')[0].heads['detection'].calibration
    assert calibration.scale.tolist() == pytest.approx([4] * 3, abs=0.3)
    assert calibration.bias.tolist() == pytest.approx([-3] * 3, abs=0.3)


def test_the_second_stage_is_fitted_where_there_is_one(tmp_path, hits):
    calibrate('street', tmp_path / 'fitted.safetensors', 3)
    before, after = load_file(weights_file('street')), load_file(tmp_path / 'fitted.safetensors')
    changed = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert changed == {f'heads.refinement.calibration.{name}' for name in ('scale', 'bias')}


def test_too_few_detections_write_no_file(tmp_path, hits):
    scores, is_true = hits['cyclist']
    hits['cyclist'] = (scores[:10], is_true[:10])
    with pytest.raises(TinyBevError, match=r'cyclist has .* detections; expected 20 of each'):
        calibrate('street', tmp_path / 'none.safetensors', 3)
    assert not list(tmp_path.iterdir())


def run_program(monkeypatch, *words):
    monkeypatch.setattr('sys.argv', ['evaluate', '--weights', 'street', *map(str, words)])
    return main()


def test_wrong_sets_are_refused(monkeypatch, capsys):
    assert run_program(monkeypatch, '--sets', 'sim,nowhere') == 1
    assert "evaluate: sets has 'nowhere'; expected all, or some of sim" in capsys.readouterr().err


def test_scores_are_not_fitted_to_an_exported_network(monkeypatch, capsys):
    assert run_program(monkeypatch, '--calibrate', 'new', '--exported-network', 'x.onnx') == 1
    assert '--exported-network is x.onnx with --calibrate; expected one' in capsys.readouterr().err


@pytest.mark.parametrize('names', [['x.onnx'], ['x.xml', 'x.bin'], []])
def test_an_exported_network_is_recorded_by_its_content(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    network = str(tmp_path / names[0]) if names else ''
    options = Namespace(weights='street', lidar='vlp32', exported_network=network)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert as_json(options, [], {})['exported_network'] == expected


def test_weights_with_a_second_stage_are_evaluated_with_and_without_it(monkeypatch):
    built = []

    class RecordedDetector:
        feature_grid = None

        def __init__(self, *arguments, **options):
            built.append(options)

    frames = EvaluationFrames([], 4)
    monkeypatch.setattr(evaluation_run, 'Detector', RecordedDetector)
    monkeypatch.setattr(evaluate_module, 'has_second_stage', lambda weights: True)
    monkeypatch.setattr(evaluate_module, 'open_set', lambda *arguments: frames)
    result = Result(scored(), [3.0] * 4)
    monkeypatch.setattr(evaluate_module, 'evaluate', lambda *arguments: result)
    options = Namespace(weights='street', second_stage='both', frames=4, lidar='vlp32', data='')
    options.exported_network = 'x.onnx'
    results, left_out = run_sets(options, ['sim', 'real'])
    assert not left_out
    names = [(each.name, each.second_stage) for each in results]
    each_twice = [(name, on) for name in ('sim', *RECORDED) for on in (True, False)]
    assert names == [*each_twice, ('real', True), ('real', False)]
    given = {'precision': 'float32', 'exported_network': 'x.onnx'}
    assert built == [{**given, 'refine_boxes': on} for on in (True, False)] * 4
    assert results[-1].result.score.rankings['visible', 'vehicle', 'bev', 0.5].positives == 24
    options.second_stage = 'off'
    assert {each.second_stage for each in run_sets(options, ['sim'])[0]} == {False}


def test_sets_without_data_are_left_out_with_a_line(tmp_path, monkeypatch, capsys):
    words = ('--sets', 'sim,real', '--frames', 2, '--data', tmp_path, '--output', tmp_path / 'o')
    assert run_program(monkeypatch, *words) == 0
    printed = capsys.readouterr()
    for name in ('kitti', 'nuscenes', 'argoverse2'):
        assert printed.err.count(f'evaluate: {name} left out: ') == 1
    evaluation = json.loads((tmp_path / 'o/evaluation.json').read_text())
    assert [each['set'] for each in evaluation['results']] == ['sim']
    assert list(evaluation['left_out']) == ['kitti', 'nuscenes', 'argoverse2']
    assert len(evaluation['sha256']) == 64
    assert '| sim | visible | vehicle |' in printed.out
    assert (tmp_path / 'o/worst.png').is_file()

    assert run_program(monkeypatch, '--sets', 'kitti', '--data', tmp_path) == 1
    assert 'no set of kitti was evaluated' in capsys.readouterr().err


def test_recorded_sets_are_left_out_without_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('TINY_BEV_DATA', raising=False)
    monkeypatch.chdir(tmp_path)
    assert run_program(monkeypatch, '--sets', 'kitti') == 1
    line = 'kitti left out: data is not given; expected a folder in --data or $TINY_BEV_DATA'
    assert line in capsys.readouterr().err


def test_a_remark_on_a_set_is_printed_once(monkeypatch, capsys):
    frames = EvaluationFrames([], 4, remark='label_2 has 2 files without a cloud')
    monkeypatch.setattr(evaluation_run, 'Detector', lambda *arguments, **options: None)
    monkeypatch.setattr(evaluate_module, 'has_second_stage', lambda weights: True)
    monkeypatch.setattr(evaluate_module, 'open_set', lambda *arguments: frames)
    result = Result(scored(), [3.0] * 4)
    monkeypatch.setattr(evaluate_module, 'evaluate', lambda *arguments: result)
    options = Namespace(weights='street', second_stage='both', frames=4, lidar='vlp32', data='.')
    options.exported_network = ''
    assert len(run_sets(options, ['kitti'])[0]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines.count('evaluate: label_2 has 2 files without a cloud') == 1


def test_recorded_frames_are_pooled(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'pyarrow.feather', None)
    words = ('--sets', 'real', '--data', data_dir, '--output', tmp_path)
    assert run_program(monkeypatch, *words) == 0
    evaluation = json.loads((tmp_path / 'evaluation.json').read_text())
    sets = {each['set']: each for each in evaluation['results']}
    assert list(sets) == ['kitti', 'nuscenes', 'real']
    assert sets['real']['frames'] == sets['kitti']['frames'] + 1
    number = {
        name: sum(r['number'] for r in each['average_precision'] if r['objects'] == 'visible')
        for name, each in sets.items()
    }
    assert number['real'] == number['kitti'] + number['nuscenes']
    assert {row['objects'] for row in sets['real']['average_precision']} == {'visible'}
    assert 'expected pyarrow' in evaluation['left_out']['argoverse2']
