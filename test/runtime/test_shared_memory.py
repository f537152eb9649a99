# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ament_index_python.packages import PackageNotFoundError

from tiny_bev_ros.runtime import shared_memory
from tiny_bev_ros.runtime.process import tune_process

CONFIG = Path(__file__).resolve().parents[2] / 'config'
MIB = 2**20


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A machine with 512 MiB of shared memory and without user settings."""
    found = SimpleNamespace(free=512 * MIB, folder=tmp_path)
    for name in (
        'ROS_DISTRO',
        'RMW_IMPLEMENTATION',
        'FASTDDS_BUILTIN_TRANSPORTS',
        *shared_memory.VARIABLES,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shared_memory, '_FOLDER', tmp_path)
    monkeypatch.setattr(shared_memory, 'config_file', lambda name: str(CONFIG / name))
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=found.free))
    with monkeypatch.context() as environment:
        # Variables that a test sets must not persist.
        environment.setattr(os, 'environ', dict(os.environ))
        yield found


def profiles() -> list[str | None]:
    return [os.environ.get(name) for name in shared_memory.VARIABLES]


def test_the_segment_holds_the_largest_tensor_of_the_default_grid(machine):
    assert 64 * 496 * 432 * 4 < shared_memory.segment_size() == 64 * MIB


@pytest.mark.parametrize(
    ('distro', 'name'),
    [
        (None, 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('rolling', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_the_profile_is_set_as_the_release_knows_it(machine, distro: str | None, name: str):
    if distro:
        os.environ['ROS_DISTRO'] = distro
    assert tune_process() == ''
    found = {key: os.environ[key] for key in shared_memory.VARIABLES if key in os.environ}
    assert found == {name: str(CONFIG / 'fastdds.xml')}


@pytest.mark.parametrize('name', [*shared_memory.VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS'])
def test_user_settings_take_precedence(machine, name: str):
    os.environ[name] = 'mine'
    machine.free = 0
    assert shared_memory.enlarge_shared_memory() == ''
    assert profiles() == [
        'mine' if name == variable else None for variable in shared_memory.VARIABLES
    ]


def test_another_middleware_is_left_alone(machine):
    os.environ['RMW_IMPLEMENTATION'] = 'rmw_cyclonedds_cpp'
    machine.free = 0
    assert shared_memory.enlarge_shared_memory() == ''
    assert profiles() == [None, None]


def test_too_little_room_is_logged_with_the_remedy(machine):
    machine.free = 64 * MIB
    assert shared_memory.enlarge_shared_memory() == (
        f'{machine.folder} has 64 MiB free; expected 128 or more: large tensors will be slow, '
        'and lost with best effort. In Docker: --shm-size=512m'
    )
    assert profiles() == [None, None]


def test_a_system_without_shared_memory_has_no_shortage(machine, tmp_path: Path):
    machine.free = 0
    shared_memory._FOLDER.rmdir()
    assert shared_memory.shortage() == ''


def test_a_checkout_that_is_not_installed_has_no_profile(machine, monkeypatch):
    def absent(name: str) -> str:
        raise PackageNotFoundError('tiny_bev_ros')

    monkeypatch.setattr(shared_memory, 'config_file', absent)
    assert tune_process() == ''
    assert profiles() == [None, None]


def test_idle_threads_sleep_unless_the_user_wants_them_awake(machine):
    os.environ.pop('OMP_WAIT_POLICY', None)
    tune_process()
    assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'
    os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'
    tune_process()
    assert os.environ['OMP_WAIT_POLICY'] == 'ACTIVE'


def segment(folder: Path, name: str, age_s: float) -> tuple[Path, Path]:
    """Makes a segment and its lock, as Fast DDS does."""
    paths = folder / name, folder / f'{name}_el'
    for path in paths:
        path.write_bytes(b'')
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    return paths


def test_segments_of_processes_that_are_gone_are_removed(machine):
    gone = segment(machine.folder, 'fastrtps_0123456789abcdef', 60)
    alive = segment(machine.folder, 'fastrtps_0123456789abcde0', 60)
    new = segment(machine.folder, 'fastrtps_0123456789abcde1', 0)
    port = segment(machine.folder, 'fastrtps_port7410', 60)
    other = segment(machine.folder, 'my_own_0123456789abcdef', 60)
    lost = machine.folder / 'fastrtps_0123456789abcde2'  # without a lock its owner is unknown
    lost.write_bytes(b'')
    with alive[1].open('rb') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert shared_memory.remove_abandoned_segments() == 1
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (*alive, *new, *port, *other, lost))


def test_abandoned_segments_are_removed_before_the_shortage_is_determined(machine):
    gone = segment(machine.folder, 'fastrtps_0123456789abcdef', 60)
    tune_process()
    assert not gone[0].exists()
