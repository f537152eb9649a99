# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Units of work: names of bags, runs, shards."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest

from tiny_bev_ros.extraction.work_units import (
    Shard,
    Survey,
    plan_runs,
    plan_surveys,
    with_mounting,
)


def names(*paths: str) -> dict[str, str]:
    return {survey.path: survey.name for survey in plan_surveys(paths)}


def test_bags_of_one_name_get_different_folders_in_any_order():
    paths = ['/a/x/rec', '/a/y/rec', '/b/y/rec', '/c/other', '/d/y-rec']
    wanted = names(*paths)
    assert wanted == {
        '/a/x/rec': 'x-rec',
        '/a/y/rec': 'a-y-rec',
        '/b/y/rec': 'b-y-rec',
        '/c/other': 'other',
        '/d/y-rec': 'd-y-rec',
    }
    assert all(names(*order) == wanted for order in itertools.permutations(paths))


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('/bags/a b:c*?.mcap', 'a_b_c_.mcap'),
        ('/bags/.hidden', 'hidden'),
        ('/bags/-rf', 'rf'),
        ('/bags/Straße 7', 'Straße_7'),
        ('/bags/\udcff', 'bag'),
        ('/bags/' + 'x' * 200, 'x' * 60),
        ('/', 'bag'),
        ('/bags/_hidden_', 'hidden'),
    ],
)
def test_odd_names_become_safe(path, name):
    assert list(names(path).values()) == [name]


@pytest.mark.parametrize(
    'paths',
    [('/bags/a b', '/bags/a:b'), ('/bags/Rec', '/bags/rec'), ('/' + 'x' * 99, '/' + 'x' * 98)],
)
def test_names_that_became_alike_still_differ(paths):
    found = names(*paths)
    assert len({name.casefold() for name in found.values()}) == 2
    assert names(*reversed(paths)) == found


def test_bags_of_an_output_keep_their_names():
    known = names('/a/street')
    assert known == {'/a/street': 'street'}
    surveys = plan_surveys(['/b/street', '/a/street', '/c/other'], known)
    assert [survey.name for survey in surveys] == ['b-street', 'street', 'other']
    (survey,) = plan_surveys(['/b/street'], {'/a/street': 'street', '/x': 'b-street'})
    assert survey.name.startswith('b-street-')


def test_a_bag_is_taken_once(tmp_path, monkeypatch):
    (tmp_path / 'rec').mkdir()
    (tmp_path / 'link').symlink_to('rec')
    monkeypatch.chdir(tmp_path)
    (survey,) = plan_surveys(['rec', Path('rec'), './rec/', tmp_path / 'link'])
    assert survey == Survey(str(tmp_path / 'rec'), 'rec')


@pytest.mark.parametrize(
    ('count', 'counts'), [(0, []), (1, [1]), (256, [256]), (257, [256, 1]), (600, [256, 256, 88])]
)
def test_runs_cover_all_frames_once(count, counts):
    states = [{'height': float(number)} for number in range(len(counts))]
    result = {'count': count, 'mounting': states}
    planned = plan_runs(Survey('/bags/rec', 'rec'), result)
    assert all(run.mounting is None for run in planned)  # thousands of them wait
    runs = [with_mounting(run, result) for run in planned]
    assert [run.count for run in runs] == counts
    assert [run.first for run in runs] == [256 * number for number in range(len(counts))]
    assert [run.mounting for run in runs] == states
    assert [run.key for run in runs] == [f'rec/part-{number:05d}' for number in range(len(counts))]
    assert pickle.loads(pickle.dumps(runs)) == runs


def test_runs_without_an_estimate_have_no_mounting():
    (run,) = plan_runs(Survey('/bags/rec', 'rec'), {'count': 3})
    assert with_mounting(run, {'count': 3}).mounting is None


def test_shards_take_each_bag_once_in_any_order_of_the_arguments():
    surveys = plan_surveys(f'/bags/{number:02d}' for number in range(11))
    shards = [Shard(index, 3) for index in (1, 2, 3)]
    taken = [shard.select(surveys) for shard in shards]
    assert [shard.select(reversed(surveys)) for shard in shards] == taken
    assert [len(part) for part in taken] == [4, 4, 3]
    assert sorted(each.path for part in taken for each in part) == [s.path for s in surveys]
    assert Shard().select(surveys) == surveys
