# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""`train --adapt`: the clouds of a bag, and errors."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags', 'numba', 'safetensors')

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from tiny_bev_ros import commands
from tiny_bev_ros.bag import adapt_to_bag
from tiny_bev_ros.bag.adapt_to_bag import choose_runs, read_runs
from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, BagMessage, write_bag
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import encode_cloud

TOPICS = {'/points': CLOUD_TYPE, '/other': CLOUD_TYPE}


def write_clouds(path, count):
    """Writes clouds whose first x is their number."""

    def messages():
        for index in range(count):
            points = np.full((5, 4), 1 + index, np.float32)
            data = bytes(serialize_message(encode_cloud(points, (1 + index, 0), 'lidar')))
            yield BagMessage('/points', 10**9 * (1 + index), data)

    write_bag(path, TOPICS, messages())


@pytest.mark.parametrize(
    ('count', 'wanted', 'expected'),
    [
        (0, 6, []),
        (5, 6, [(0, 5)]),
        (6, 6, [(0, 6)]),
        (7, 6, [(0, 3), (4, 7)]),
        (100, 5, [(0, 3)]),
        (100, 9, [(0, 3), (48, 51), (97, 100)]),
    ],
)
def test_clouds_are_spread_over_the_recording(count, wanted, expected):
    runs = choose_runs(count, wanted)
    assert [(run.start, run.stop) for run in runs] == expected


@pytest.mark.parametrize('count', [10, 201, 1000])
def test_no_cloud_is_taken_twice(count):
    every = [index for run in choose_runs(count, 9) for index in run]
    assert len(every) == len(set(every)) == 9
    assert max(every) < count


def test_runs_are_read_in_order(tmp_path):
    write_clouds(tmp_path / 'bag', 10)
    with Bag(tmp_path / 'bag') as bag:
        runs = list(read_runs(bag, '/points', 6))
        assert [[cloud[0, 0] for cloud in run] for run in runs] == [[1, 2, 3], [8, 9, 10]]
        assert runs[0][0].shape == (5, 4)
        with pytest.raises(TinyBevError, match=r'/other of .* has 0 clouds; expected at least'):
            list(read_runs(bag, '/other', 6))


def test_the_command_adapts_to_a_bag(tmp_path, monkeypatch, capsys):
    write_clouds(tmp_path / 'bag', 4)
    taken = {}

    def adapt(weights, runs, folder, steps, command):
        taken.update(weights=weights, clouds=len(next(iter(runs))), steps=steps, command=command)
        return 'the report'

    monkeypatch.setattr(adapt_to_bag, 'adapt', adapt)
    words = f'train --adapt {tmp_path}/bag --topic points --steps 7 --output {tmp_path}/out'
    monkeypatch.setattr('sys.argv', words.split())
    with pytest.raises(SystemExit) as ended:
        commands.train()
    assert ended.value.code == 0
    command = 'train --adapt bag --start-from street'
    assert taken == {'weights': 'street', 'clouds': 4, 'steps': 7, 'command': command}
    printed = capsys.readouterr().out
    assert 'the report' in printed
    assert 'old_weights.safetensors and adaptation.json beside it' in printed


@pytest.mark.parametrize(
    ('words', 'error'),
    [
        ('--adapt {bag}', 'has 2 PointCloud2 topics; name one of /other, /points'),
        ('--adapt {bag} --topic none', 'topic /none is not in the bag'),
        ('--adapt {bag}/no --topic points', 'train: '),
        ('--adapt {bag} --topic points --start-from no', "weights is 'no'; expected street"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, words, error):
    write_clouds(tmp_path / 'bag', 4)
    line = words.format(bag=tmp_path / 'bag')
    monkeypatch.setattr('sys.argv', ['train', *line.split(), '--output', str(tmp_path / 'out')])
    assert adapt_to_bag.main() == 1
    printed = capsys.readouterr().err
    assert error in printed
    assert printed.count('\n') == 1


@pytest.mark.parametrize('option', ['--frames 2', '--steps 1', '--steps many'])
def test_numbers_are_checked(monkeypatch, capsys, option):
    monkeypatch.setattr('sys.argv', ['train', '--adapt', 'bag', *option.split()])
    with pytest.raises(SystemExit):
        adapt_to_bag.main()
    assert option.split()[0] in capsys.readouterr().err
