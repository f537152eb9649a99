# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Ray actors in place of processes: equal outputs, and actors that are killed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from fake_extraction import FakeWorkerFactory, RecordedProgress, counted, digests, extract
from optional_packages import require_packages

from tiny_bev_ros import optional_imports
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.pool_events import PoolEvent, Progress
from tiny_bev_ros.extraction.ray_pool import RayPool
from tiny_bev_ros.extraction.work_units import Run

require_packages('ray')
import ray

BAG = '/data/b/rec'
RUN = Run(BAG, 'rec', 0, 0, 256)


@pytest.fixture(scope='module', autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local cluster for all tests of this module; its processes import helpers too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join(sys.path))
        ray.init(
            address='local',
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level='ERROR',
            object_store_memory=100 * 2**20,
        )
        yield
        ray.shutdown()


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of an extraction by processes, which nothing disturbed."""
    folder = tmp_path_factory.mktemp('undisturbed')
    extract(folder / 'out', folder / 'log', workers=1)
    return digests(folder / 'out')


def test_ray_gives_the_files_of_the_processes(undisturbed, tmp_path):
    progress = RecordedProgress()
    extract(tmp_path / 'out', tmp_path / 'log', RayPool, progress=progress)
    assert digests(tmp_path / 'out') == undisturbed
    assert max(Counter(counted(tmp_path / 'log', 'started')).values()) == 1
    assert (progress.planned, progress.frames) == (1400, 1400)


def test_a_killed_actor_costs_one_attempt(undisturbed, tmp_path):
    output, log = tmp_path / 'out', tmp_path / 'log'
    outcomes = extract(output, log, RayPool, 1, bags=[BAG], faults={'rec/part-00000': 'kill'})
    assert Counter(counted(log, 'started')) == {
        'rec/survey': 1,
        'rec/part-00000': 2,
        'rec/part-00001': 1,
    }
    (reason,) = [each.reason for each in outcomes if each.result is None]
    assert reason.startswith('the Ray worker ended: ') and '\n' not in reason
    extract(output, log, RayPool, 1, bags=[BAG])
    assert Counter(counted(log, 'started'))['rec/part-00001'] == 1
    extract(tmp_path / 'other', log, bags=[BAG])
    assert digests(output) == digests(tmp_path / 'other')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'broken_start': 'no weights'}, 'worker cannot start: RuntimeError: no weights'),
        ({'faults': {'a-rec/part-00002': 'full'}}, 'No space left on device'),
    ],
)
def test_what_ends_the_program_does_so_on_ray(options, message, tmp_path):
    with pytest.raises(TinyBevError, match=message):
        extract(tmp_path / 'out', tmp_path / 'log', RayPool, 1, **options)


def test_a_cluster_without_gpus_is_refused(tmp_path):
    with pytest.raises(TinyBevError, match='GPUs in the Ray cluster is 0; expected at least 1'):
        RayPool(FakeWorkerFactory(None, tmp_path), 1, num_gpus=1)


def test_a_cluster_with_too_few_cpus_is_refused(tmp_path):
    with pytest.raises(TinyBevError, match='CPUs in the Ray cluster is 2; expected at least 3'):
        RayPool(FakeWorkerFactory(None, tmp_path), 1, num_cpus=3)


@pytest.mark.parametrize(('num_cpus', 'size'), [(1, 2), (2, 1)])
def test_the_pool_is_as_large_as_the_cluster(num_cpus, size, tmp_path):
    assert RayPool(FakeWorkerFactory(None, tmp_path), None, num_cpus=num_cpus).size == size


def wait_for(pool: RayPool) -> PoolEvent:
    """Starts a unit on the first actor that is ready; returns the next event."""
    while not (idle := pool.idle(1)):
        pool.wait(60)
    pool.start(idle[0], RUN)
    while not (events := pool.wait(60)):
        pass
    return events[0]


def test_progress_comes_before_the_end_of_a_unit(tmp_path):
    folder = OutputFolder(tmp_path / 'out')
    pool = RayPool(FakeWorkerFactory(folder, tmp_path / 'log', pause_s=0.3), 1)
    try:
        event = wait_for(pool)
        assert isinstance(event, Progress)
        assert 0 <= event.frames < RUN.size
    finally:
        pool.close()


def test_a_missing_ray_is_one_line(tmp_path, monkeypatch):
    absent = optional_imports.OptionalModule(None, 'ray is not installed')
    monkeypatch.setattr('tiny_bev_ros.extraction.ray_pool.import_optional', lambda name: absent)
    with pytest.raises(TinyBevError, match='ray is not installed; expected it for Ray'):
        RayPool(FakeWorkerFactory(None, tmp_path), 1)
