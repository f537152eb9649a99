# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Faults of the system around a node: full shared memory, damaged bags."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from fault_registry import Outcome, case
from fault_rig import Rig, cloud

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.resources import command
from tiny_bev_ros.runtime.shared_memory import VARIABLES

_SHM = Path('/dev/shm')
_LEFT_BYTES = 2**20
# Gives a process its own /dev/shm, where the system allows it.
_MOUNT = 'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
_SLOW_STARTS = 5


def _inside(rig: Rig, tries: int, name: str, size: str) -> Outcome:
    """Tries a fault of this file in a process with a small /dev/shm, which its children share."""
    wrapper = ['unshare', '-Urm', 'sh', '-c', _MOUNT.format(size=size), '-']
    if not shutil.which('unshare') or _run([*wrapper, 'true']).returncode:
        return Outcome(did='not tried: this system allows no mount namespaces')
    folder = rig.folder / size
    words = [
        sys.executable,
        str(Path(__file__).with_name('faults.py')),
        '--only',
        name,
        '--tries',
        str(min(tries, _SLOW_STARTS)),
    ]
    ran = _run([*wrapper, *words, '--json', '--output', str(folder)])
    try:
        outcome = Outcome(**json.loads(ran.stdout)[name])
    except (ValueError, KeyError):
        rig.problems.append(f'no outcome: {ran.stderr[-300:]}')
        return Outcome()
    rig.problems += outcome.problems
    return outcome


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # A user would start it without the DDS profile of this process.
    bare = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env=bare
    )


@case('shared memory full when the nodes start')
def full(rig: Rig, tries: int) -> Outcome:
    """Leaves 4 MiB for all nodes."""
    return _inside(rig, tries, '(in 4 MiB of shared memory)', '4m')


@case('shared memory filled up while the nodes run')
def filled(rig: Rig, tries: int) -> Outcome:
    """Lets another program fill 512 MiB up to the last one."""
    return _inside(rig, tries, '(in 512 MiB of shared memory)', '512m')


@case('(in 4 MiB of shared memory)')
def inside_full(rig: Rig, tries: int) -> Outcome:
    """Starts a node again and again."""
    outcome, advised = Outcome(), 0
    for _ in range(tries):
        process = rig.spawn()
        outcome.count_try(rig)
        advised += '--shm-size' in process.log.read_text()
        process.stop()
    rig.process = None
    outcome.did = f'used UDP, logged a remedy {advised} of {tries} times'
    if advised < tries:
        rig.problems.append(outcome.did)
    return outcome


@case('(in 512 MiB of shared memory)')
def inside_filled(rig: Rig, tries: int) -> Outcome:
    """Fills the free shared memory, and frees it again."""
    rig.start()
    outcome = Outcome()
    for _ in range(tries):
        file = _SHM / 'filler'
        with file.open('wb') as filler:
            os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(_SHM).free - _LEFT_BYTES)
        outcome.count_try(rig)
        outcome.lost += rig.stream(0.5)
        file.unlink()
    outcome.did = 'continued with the memory that it has'
    return outcome


@case('bag with broken files played into the node')
def bags(rig: Rig, tries: int) -> Outcome:
    """Plays bags that are truncated, have wrong bytes or no index: the player must refuse them."""
    if why_not := import_optional('rosbags.rosbag2').reason:
        return Outcome(did=f'not tried: {why_not}')
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    rig.start()
    outcome, refused = Outcome(), 0
    for number in range(min(tries, 9)):
        folder = rig.folder / f'bag_{number}'
        shutil.rmtree(folder, ignore_errors=True)
        store = get_typestore(Stores.ROS2_JAZZY)
        plugin = StoragePlugin.MCAP if number % 2 else StoragePlugin.SQLITE3
        with Writer(folder, version=9, storage_plugin=plugin) as writer:
            connection = writer.add_connection(
                'points', 'sensor_msgs/msg/PointCloud2', typestore=store
            )
            for index in range(20):
                message = _serialized(index)
                writer.write(connection, index * 10**7, message)
        _break(folder, number)
        names = ['--ros-args', '-r', f'__ns:={rig.namespace}']
        player = _run([*command('bag_player'), str(folder), *names])
        refused += player.returncode == 1
        if 'Traceback' in player.stderr or player.returncode not in (0, 1):
            rig.problems.append(f'bag_player, {player.returncode}: {player.stderr[-300:]}')
        outcome.count_try(rig)
    outcome.did = (
        f'bag_player logged the fault and ended, {refused} of {outcome.tries}; the node continued'
    )
    return outcome


def _serialized(index: int) -> bytes:
    from rclpy.serialization import serialize_message

    data: bytes = serialize_message(encode_cloud(cloud(index, 50), (index, 0), 'lidar'))
    return data


def _break(folder: Path, number: int) -> None:
    """Damages a bag in one of three ways."""
    (file,) = [path for path in folder.iterdir() if path.suffix in ('.mcap', '.db3')]
    content = file.read_bytes()
    if number % 3 == 0:
        file.write_bytes(content[: len(content) // 2])
    elif number % 3 == 1:
        middle = len(content) // 2
        file.write_bytes(content[: middle - 200] + b'\xff' * 400 + content[middle + 200 :])
    else:
        (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
