# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tables of the model card from the JSON of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.model_card import card_tables, main

CARD = Path(__file__).resolve().parents[2] / 'docs/model_card.md'


def figure(value):
    return {'value': value, 'low': value - 0.1, 'high': value + 0.1}


def result(name, second_stage, value, objects=('visible',)):
    return {
        'set': name,
        'title': f'{name} title',
        'second_stage': second_stage,
        'frames': 60,
        'median_ms': 100.0,
        'drivable_iou': figure(0.8),
        'calibration_error': {'all': 0.04},
        'average_precision': [
            {'objects': level, 'class': 'vehicle', 'view': view, 'min_iou': iou, 'number': 9}
            | figure(value)
            for level in objects
            for view in ('bev', '3d')
            for iou in (0.25, 0.5, 0.7)
        ],
    }


EVALUATION = {
    'date': '2026-11-29',
    'sha256': 'ab' * 32,
    'threads': 1,
    'confidence': 0.95,
    'resamples': 1000,
    'results': [
        result('sim', True, 0.9),
        result('sim', False, 0.7),
        result('kitti', True, 0.6, ('visible', 'easy')),
    ],
    'left_out': {},
}


def test_tables_of_an_exam():
    tables = card_tables(EVALUATION)
    assert 'Measured 2026-11-29' in tables['evaluation']
    assert tables['sets'].count('| 60 | 0.800 (0.70-0.90) | 0.040 |') == 2
    assert '| sim | visible | vehicle | 9 | 0.900 (0.80-1.00) |' in tables['accuracy']
    assert '0.700 (' not in tables['accuracy']
    assert 'easy' not in tables['accuracy']
    assert '| kitti | easy | vehicle | 9 | 0.600 (0.50-0.70) |' in tables['difficulties']
    assert 'visible' not in tables['difficulties']
    assert '| sim | vehicle | 0.900, 0.700 |' in tables['second stage']
    one = {**EVALUATION, 'results': [result('sim', None, 0.9)]}
    assert card_tables(one)['second stage'] == 'These weights have no second stage.'


def test_the_model_card_takes_the_tables(tmp_path, monkeypatch, capsys):
    card, evaluation = tmp_path / 'model_card.md', tmp_path / 'evaluation.json'
    card.write_text(CARD.read_text())
    evaluation.write_text(json.dumps(EVALUATION))
    monkeypatch.setattr('sys.argv', ['model_card', str(evaluation), '--document', str(card)])
    assert main() == 0
    text = card.read_text()
    assert '| sim | visible | vehicle | 9 | 0.900 (0.80-1.00) |' in text
    assert main() == 0
    assert card.read_text() == text
    exported = {**EVALUATION, 'exported_network': {'x.xml': 'ab' * 32, 'x.bin': 'cd' * 32}}
    evaluation.write_text(json.dumps(exported))
    assert main() == 1
    assert 'exported_network is x.xml, x.bin; expected' in capsys.readouterr().err
    evaluation.write_text(json.dumps(EVALUATION))
    card.write_text('# Nothing to replace')
    assert main() == 1
    assert 'has no marks of evaluation' in capsys.readouterr().err
