# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extractions that are killed: reruns complete them, and repeat only units in flight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_extraction
import pytest
from fake_extraction import BAGS, RUNS, RecordedProgress, counted, digests, extract, living_workers

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.scheduler import Outcome
from tiny_bev_ros.extraction.work_units import Run, Shard

# Keys of the bags of `fake_extraction`.
A, B = 'a-rec', 'b-rec'


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of an extraction that nothing disturbed, by one worker."""
    folder = tmp_path_factory.mktemp('undisturbed')
    outcomes = extract(folder / 'out', folder / 'log', workers=1)
    assert sum(isinstance(each.unit, Run) for each in outcomes) == RUNS
    return digests(folder / 'out')


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / 'out'


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Folder of counts; no worker may survive the test."""
    yield tmp_path / 'log'
    wait_until(lambda: not living_workers(tmp_path / 'log'))


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.02)


def put_aside(outcomes: list[Outcome]) -> dict[str, str]:
    return {each.unit.key: each.reason for each in outcomes if each.result is None}


def starts(log: Path) -> Counter[str]:
    return Counter(counted(log, 'started'))


def test_two_workers_give_the_files_of_one(undisturbed, output, log):
    progress = RecordedProgress()
    outcomes = extract(output, log, progress=progress)
    assert digests(output) == undisturbed
    assert put_aside(outcomes) == {'broken/survey': '/data/broken is broken; expected a bag'}
    assert max(starts(log).values()) == 1
    assert (progress.planned, progress.frames) == (1400, 1400)
    assert not (output / '.partial').exists()
    (line,) = (output / 'failed.jsonl').read_text().splitlines()
    assert json.loads(line)['unit'] == 'broken/survey'


def test_a_finished_extraction_starts_no_worker(output, log):
    whole = [path for path, count in BAGS.items() if count >= 0]
    extract(output, log, bags=whole)
    before = starts(log), sorted(log.glob('pid-*'))
    outcomes = extract(output, log, bags=whole)
    assert [each.attempts for each in outcomes] == [0] * (RUNS + 3)
    assert (starts(log), sorted(log.glob('pid-*'))) == before


@pytest.mark.parametrize('fault', ['kill once', 'exit once', 'raise once'])
def test_a_unit_that_fails_once_is_tried_again(fault, undisturbed, output, log):
    progress = RecordedProgress()
    outcomes = extract(output, log, faults={f'{A}/part-00001': fault}, progress=progress)
    assert digests(output) == undisturbed
    assert set(put_aside(outcomes)) == {'broken/survey'}
    assert {key for key, count in starts(log).items() if count > 1} == {f'{A}/part-00001'}
    assert any(line.endswith('it is tried again') for line in progress.lines)
    assert progress.frames == 1400


@pytest.mark.parametrize(
    ('fault', 'reason', 'times'),
    [
        ('kill', 'the worker was ended by SIGKILL', 2),
        ('exit', 'the worker ended with exit code 7', 2),
        ('raise', 'RuntimeError: odd (fake_extraction.py:', 2),
        ('refuse', 'cloud is odd; expected an even one', 1),
    ],
)
def test_a_unit_that_fails_always_is_put_aside(fault, reason, times, undisturbed, output, log):
    outcomes = extract(output, log, faults={f'{A}/part-00001': fault})
    assert put_aside(outcomes)[f'{A}/part-00001'].startswith(reason)
    assert starts(log)[f'{A}/part-00001'] == times
    entries = [json.loads(line) for line in (output / 'failed.jsonl').read_text().splitlines()]
    (entry,) = [each for each in entries if each['unit'] == f'{A}/part-00001']
    assert entry['reason'].startswith(reason)
    assert (entry['bag'], entry['first'], entry['count']) == ('/data/a/rec', 256, 256)
    assert not (output / '.partial').exists()
    outcomes = extract(output, log)  # without the fault
    assert digests(output) == undisturbed
    assert [each.unit.key for each in outcomes if each.attempts and each.result] == [
        f'{A}/part-00001'
    ]


def test_a_survey_that_kills_its_worker_is_put_aside_alone(output, log):
    outcomes = extract(output, log, faults={f'{A}/survey': 'kill'})
    assert set(put_aside(outcomes)) == {f'{A}/survey', 'broken/survey'}
    assert sum(isinstance(each.unit, Run) for each in outcomes) == 2


def test_a_worker_that_is_killed_from_outside_costs_one_attempt(undisturbed, output, log):
    killed = []

    def kill(outcome: Outcome) -> None:
        if isinstance(outcome.unit, Run) and not killed:
            killed.append(living_workers(log)[0])
            os.kill(killed[0], signal.SIGKILL)

    extract(output, log, each=kill, pause_s=0.01)
    assert digests(output) == undisturbed
    assert sum(starts(log).values()) <= RUNS + 4 + 1


def driver(output: Path, log: Path, pause_s: float = 0.02) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, fake_extraction.__file__, str(output), str(log), str(pause_s)],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the process group that a terminal would signal
    )


@pytest.mark.parametrize('after', [1, 4])
def test_a_driver_that_is_killed_leaves_no_worker_and_goes_on(after, undisturbed, output, log):
    process = driver(output, log)
    wait_until(lambda: sum('part' in key for key in counted(log, 'committed')) >= after)
    process.kill()
    process.communicate()
    wait_until(lambda: not living_workers(log))
    committed = set(counted(log, 'committed'))
    done = {path.parent.name + '/' + path.stem for path in (output / 'runs').glob('*/*.json')}
    before = starts(log)
    extract(output, log)
    assert digests(output) == undisturbed
    again = {key for key, count in (starts(log) - before).items() if count and before[key]}
    assert again.isdisjoint(committed | done)
    assert len(again - {'broken/survey'}) <= 2  # one for each worker
    assert not (output / '.partial').exists()


def test_ctrl_c_ends_all_quietly_and_a_rerun_completes(undisturbed, output, log):
    process = driver(output, log)
    wait_until(lambda: counted(log, 'committed'))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, '')
    wait_until(lambda: not living_workers(log))
    assert not (output / '.partial').exists()
    extract(output, log)
    assert digests(output) == undisturbed


@pytest.mark.parametrize('fault', ['full', 'dev_full'])
def test_a_full_disk_ends_the_program_and_a_rerun_completes(fault, undisturbed, output, log):
    with pytest.raises(TinyBevError, match=r'cannot be written \(OSError: \[Errno 28\]'):
        extract(output, log, faults={f'{A}/part-00002': fault})
    assert starts(log)[f'{A}/part-00002'] == 1
    assert not (output / '.partial').exists()
    committed = set(counted(log, 'committed'))
    before = starts(log)
    extract(output, log)
    assert digests(output) == undisturbed
    assert committed.isdisjoint(starts(log) - before)


def test_a_small_disk_ends_the_program_and_a_rerun_completes(undisturbed, tmp_path, log):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f'no disk can be mounted: {error}')
    if done.returncode:
        pytest.skip(f'no disk can be mounted: {done.stderr.strip()}')
    try:
        with pytest.raises(TinyBevError, match='No space left on device'):
            extract(disk / 'out', log)
        subprocess.run(['mount', '-o', 'remount,size=8m', str(disk)], check=True)
        extract(disk / 'out', log)
        assert digests(disk / 'out') == undisturbed
    finally:
        subprocess.run(['umount', str(disk)], check=True)


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        ('no weights', r'worker cannot start: RuntimeError: no weights \(fake_extraction'),
        ('kill', '4 workers in a row ended while they started.*SIGKILL'),
    ],
)
def test_workers_that_cannot_start_end_the_program(broken, message, output, log):
    with pytest.raises(TinyBevError, match=message):
        extract(output, log, broken_start=broken)


def test_three_machines_share_the_bags(undisturbed, output, log):
    runs = [
        [each.unit.key for each in extract(output, log, workers=1, shard=Shard(index, 3))]
        for index in (1, 2, 3)
    ]
    assert digests(output) == undisturbed
    parts = [key for keys in runs for key in keys if 'part' in key]
    assert len(parts) == len(set(parts)) == RUNS
    # Each bag belongs to one machine: the third of four, sorted by path, is broken.
    assert [path.name for path in output.glob('failed*')] == ['failed-3-of-3.jsonl']
    assert max(starts(log).values()) == 1
