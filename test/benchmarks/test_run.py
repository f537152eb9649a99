# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import benchmark_result
import numpy as np
import pytest

from benchmarks import run
from benchmarks.document_tables import document_tables
from benchmarks.report import markdown


def test_the_module_is_a_program():
    command = [sys.executable, '-m', 'benchmarks.run', '--help']
    done = subprocess.run(
        command, cwd=Path(run.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('usage: python -m benchmarks.run')


def test_without_ros_the_report_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.delitem(sys.modules, 'benchmarks.transport.node_latency', raising=False)
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    options = argparse.Namespace(threads=[1], rounds=1)
    points = {'sweep 1': np.zeros((0, 4), np.float32)}
    result = run.try_transport(points, 'sweep 1', options, tmp_path)
    (line,) = result.pop('left_out')
    assert result == {}
    assert line == (
        'The transport is left out: benchmarks.transport.node_latency cannot be used '
        '(rclpy is not installed)'
    )


def test_shipped_weights_have_rows_of_each_thread_count(monkeypatch, tmp_path: Path):
    given = benchmark_result.result()['detectors']['runs'][0]
    measured: list[tuple[int, list[str]]] = []

    def detectors(clouds, threads, rounds, folder):
        measured.append((threads, list(clouds)))
        return [dict(each) for each in given['maps']]

    def peaks(names, cloud, scratch, threads, map_name):
        assert np.load(cloud).shape == (3, 4)
        return dict.fromkeys(names, 100.0 * threads), [f'{map_name} is left out']

    monkeypatch.setattr(run, 'measure_detection', lambda *_: given['detection'])
    monkeypatch.setattr(run, 'measure_detectors', detectors)
    monkeypatch.setattr(run, 'peak_memory', peaks)
    points = {label: np.zeros((3, 4), np.float32) for label in ('sweep 1', 'front 1', 'sweep 2')}
    options = argparse.Namespace(threads=[2, 1], rounds=1)
    result = run.measure_shipped_weights(points, 'sweep 1', options, tmp_path)
    assert measured == [(2, ['sweep 1', 'sweep 2']), (1, ['sweep 1', 'sweep 2'])]
    whole = {'machine': {'cores': 2}, 'detectors': result}
    text = markdown(whole)
    assert '| engine float32 | 30.0 | 20.0..40.0 | 200 |' in text
    assert '- around is left out' in text
    table = document_tables(whole)['detectors']
    assert table.startswith('|  | around, 2 threads | around, 1 thread |')


def test_a_document_takes_the_parts_that_it_has(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['run', '--only', 'transport', '--document', 'x.md'])
    with pytest.raises(SystemExit, match='2'):
        run.main()
    expected = '--document is given with --only transport; expected engine or detectors, or all'
    assert expected in capsys.readouterr().err


def test_clouds_of_one_kind():
    points = {label: np.zeros((0, 4), np.float32) for label in ('sweep 1', 'front 1', 'sweep 2')}
    assert list(run.of_kind(points, 'sweep 1')) == ['sweep 1', 'sweep 2']
