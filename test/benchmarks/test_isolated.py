# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import isolated
from tiny_bev_ros.errors import TinyBevError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / 'image.npy'
    np.save(path, np.ones((1, 64, 160, 200), np.float32))
    return path


def test_a_process_of_its_own_measures_memory_and_times(image: Path, tmp_path: Path):
    found = isolated.run_isolated('eager', image, tmp_path, threads=1, rounds=2)
    # At least two full activations of 8 MB; without the memory of PyTorch itself.
    assert 16 < found['peak_mb'] < 400
    assert len(found['ms']) == 2
    assert min(found['ms']) > 0


def test_memory_of_a_detector(tmp_path: Path):
    path = tmp_path / 'points.npy'
    np.save(path, np.ones((5, 4), np.float32))
    (found,), left_out = isolated.peak_memory(['engine float32'], path, tmp_path, 1, 'ahead')
    assert found == 'engine float32'
    assert not left_out


def test_a_contender_that_fails_is_left_out_with_a_line(image: Path, tmp_path: Path):
    found, (line,) = isolated.peak_memory(['nobody'], image, tmp_path, 1)
    assert found == {}
    assert line.startswith(
        'Peak memory of nobody is left out: nobody failed in its own process: KeyError'
    )


@pytest.mark.parametrize('tuned', [True, False])
def test_the_allocator_of_the_process(monkeypatch, tuned: bool):
    arguments = []

    def run(command, **_):
        arguments.extend(command)
        raise isolated.subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(isolated.subprocess, 'run', run)
    with pytest.raises(TinyBevError, match='took more than'):
        isolated.run_isolated('eager', Path(), Path(), threads=1, tuned=tuned)
    assert ('--tuned' in arguments) == tuned


def test_untuned_and_tuned_take_turns(monkeypatch):
    order = []

    def run_isolated(*_, tuned: bool, **__):
        order.append(tuned)
        return {'ms': [10.0 if tuned else 15.0]}

    monkeypatch.setattr(isolated, 'run_isolated', run_isolated)
    times = isolated.untuned_eager(Path(), Path(), 1, 1)
    assert order == [False, True, False, True]
    assert times == {'untuned': [15.0, 15.0], 'tuned': [10.0, 10.0]}
    line = isolated.untuned_sentence(times)
    assert '15.0 ms (15.0..15.0), 1.50 times the 10.0 ms of tuned eager' in line
