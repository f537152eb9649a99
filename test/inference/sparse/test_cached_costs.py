# SPDX-License-Identifier: Apache-2.0
"""What was measured is used at the next start, and nothing that cannot be true is."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_bev_ros.inference.sparse.cached_costs import machine_key, remembered
from tiny_bev_ros.inference.sparse.cost_model import CostModel
from tiny_bev_ros.inference.sparse.layer_chain import as_chain
from tiny_bev_ros.models import TinyBEVBackbone

CPU = torch.device('cpu')
COSTS = CostModel(0.001, 1e-12, 0.25)
OTHER = CostModel(0.002, 3e-12, 0.5)
GOOD = {'fixed_seconds': 0.001, 'seconds_per_mac': 1e-12, 'dense_seconds': 0.25}


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'tiny_bev_ros' / 'crossover.json'


def never() -> CostModel:
    raise AssertionError('measured again')


def test_measured_once_for_each_key(file: Path):
    assert remembered('a', lambda: COSTS) == COSTS
    assert remembered('b', lambda: OTHER) == OTHER
    assert remembered('a', never) == COSTS
    assert remembered('b', never) == OTHER
    assert json.loads(file.read_text())['a'] == GOOD
    assert list(file.parent.iterdir()) == [file]  # nothing half written is left


def test_without_the_variable_it_lies_in_the_home(tmp_path: Path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    remembered('a', lambda: COSTS)
    assert (tmp_path / '.cache' / 'tiny_bev_ros' / 'crossover.json').exists()


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{"a": {"fixed_s',
        b'\xff\xfe\x00',
        b'[]',
        b'[' * 100_000,
        b'{"a": null}',
        b'{"a": {}}',
    ],
)
def test_a_malformed_file_is_measured_over(file: Path, content: bytes):
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert remembered('a', lambda: COSTS) == COSTS
    assert remembered('a', never) == COSTS


@pytest.mark.parametrize('value', [0.0, -1.0, float('nan'), float('inf'), '0.25', None, True, []])
@pytest.mark.parametrize('name', list(GOOD))
def test_values_that_cannot_be_true_are_measured_over(file: Path, name: str, value: Any):
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({'a': {**GOOD, name: value}, 'b': GOOD}))
    assert remembered('b', never) == COSTS
    assert remembered('a', lambda: OTHER) == OTHER
    assert remembered('a', never) == OTHER
    assert remembered('b', never) == COSTS


def test_a_file_that_cannot_be_written_is_told_of_and_no_error(tmp_path: Path):
    (tmp_path / 'cache').write_text('a file where the folder should be')
    with pytest.warns(UserWarning, match='will be measured again') as told:
        assert remembered('a', lambda: COSTS) == COSTS
    assert len(told) == 1


def test_a_folder_in_its_place_is_no_error(file: Path):
    file.mkdir(parents=True)
    with pytest.warns(UserWarning, match='will be measured again'):
        assert remembered('a', lambda: COSTS) == COSTS
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_there_is_not_told_of():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        remembered('a', lambda: COSTS)
        remembered('a', never)


def test_a_key_for_all_on_which_the_costs_depend():
    chain = as_chain(TinyBEVBackbone(6, 5, 7).eval())
    base: dict[str, Any] = {
        'layers': chain,
        'shape': (10, 20),
        'dtype': torch.float32,
        'device': CPU,
        'threads': 1,
        'path': 'numba',
    }
    others = [
        {'layers': as_chain(TinyBEVBackbone(6, 5, 8).eval())},
        {'layers': chain[:-1]},
        {'shape': (20, 10)},
        {'dtype': torch.bfloat16},
        {'threads': 2},
        {'path': 'torch'},
    ]
    keys = [machine_key(**{**base, **other}) for other in [{}, *others]]
    assert len(set(keys)) == len(keys)
    assert keys[0] == machine_key(**base)
    assert torch.__version__ in keys[0]
