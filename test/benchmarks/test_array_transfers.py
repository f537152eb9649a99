# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ros_graph import RosGraph

from benchmarks.transport import array_transfers
from benchmarks.transport.array_transfers import Peer, measure_transfers
from tiny_bev_ros.errors import TinyBevError

pytestmark = pytest.mark.dds


def test_every_method_delivers_its_arrays(graph: RosGraph, tmp_path: Path, monkeypatch):
    shapes = {'10 MB': (1, 4, 20, 20), 'pillars': (50, 4)}
    monkeypatch.setattr(array_transfers, 'SHAPES', shapes)
    monkeypatch.setattr(array_transfers, '_TURNS', 1)
    monkeypatch.setattr(array_transfers, '_SLOW_HZ', 10.0)
    before = dict(os.environ)
    rows = measure_transfers(1, tmp_path)
    assert dict(os.environ) == before
    assert not list(tmp_path.glob('bench_*')), 'pipes are left'
    assert len({row['name'] for row in rows}) == 8
    for row in rows:
        assert row['sent'] == row['count']
        assert len(row['cpu_ms'][0]) == len(row['cpu_ms'][1]) == 1
        # With keep last 1 a late reader loses arrays on a busy machine, even where it is reliable.
        assert row['sent'] // 2 <= len(row['ms']) <= row['sent'], row
        assert min(row['ms']) > 0


def test_a_process_that_ends_is_reported(tmp_path: Path):
    peer = Peer('receive', tuned=False, log=tmp_path / 'log')
    peer.request({'method': 'memcpy through shared memory'})
    with pytest.raises(TinyBevError, match='transfer process ended with exit code 1; see '):
        peer.answer()
    assert "KeyError: 'memory'" in (tmp_path / 'log').read_text()
