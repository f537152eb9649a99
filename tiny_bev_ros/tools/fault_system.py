# SPDX-License-Identifier: Apache-2.0
"""Faults of the system around a node: full shared memory, broken bags."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tiny_bev_ros.config import executable
from tiny_bev_ros.messages.cloud import encode_cloud
from tiny_bev_ros.tools.fault_registry import Outcome, case
from tiny_bev_ros.tools.fault_rig import Rig, cloud

_SHM = Path('/dev/shm')  # noqa: S108 - it is where Fast DDS has its segments
_LEFT = 2**20


@case('shared memory full when the node starts')
def full(rig: Rig, tries: int) -> Outcome:
    """In a mount namespace with a /dev/shm of its own, where the system lets us."""
    outcome = Outcome()
    wrapper = ['unshare', '-Urm', 'sh', '-c', 'mount -t tmpfs -o size=4m tmpfs /dev/shm && "$@"']
    allowed = (
        shutil.which('unshare')
        and not subprocess.run(  # noqa: S603 - our own words
            [*wrapper, '-', 'true'], check=False, capture_output=True
        ).returncode
    )
    if not allowed:
        outcome.did = 'not tried: this system allows no mount namespaces'
        return outcome
    said = 0
    for _ in range(min(tries, 5)):
        rig.spawn(wrapper=[*wrapper, '-'])
        outcome.tried(rig)
        assert rig.process is not None
        said += '--shm-size' in rig.process.log.read_text()
        rig.process.stop()
    rig.process = None
    outcome.did = f'went over UDP, said what helps {said} of {outcome.tries} times'
    if said < outcome.tries:
        rig.problems.append(outcome.did)
    return outcome


@case('shared memory filled up while the node runs')
def filled(rig: Rig, tries: int) -> Outcome:
    """By somebody else, to the last MiB, if that takes less than 4 GiB."""
    rig.start()
    outcome = Outcome()
    free = shutil.disk_usage(_SHM).free
    if free > 2**32:
        outcome.did = f'not tried: there are {free >> 30} GiB to fill'
        return outcome
    for _ in range(min(tries, 5)):
        file = _SHM / f'tiny_bev_ros_faults_{os.getpid()}'
        try:
            with file.open('wb') as filler:
                os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(_SHM).free - _LEFT)
            outcome.tried(rig)
        finally:
            file.unlink(missing_ok=True)
    outcome.did = 'went on in the memory that it has'
    return outcome


@case('bag with broken files played into the node')
def bags(rig: Rig, tries: int) -> Outcome:
    """Truncated, with wrong bytes, without its index: the player says so and ends."""
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
    except ImportError:
        return Outcome(did='not tried: the package rosbags is missing')
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
        player = subprocess.run(  # noqa: S603 - our own executable
            [
                executable('bag_player'),
                str(folder),
                '--ros-args',
                '-r',
                f'__ns:={rig.namespace}',
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        refused += player.returncode == 1
        if 'Traceback' in player.stderr or player.returncode not in (0, 1):
            rig.problems.append(f'bag_player, {player.returncode}: {player.stderr[-300:]}')
        outcome.tried(rig)
    outcome.did = f'bag_player said why and ended, {refused} of {outcome.tries}; the node went on'
    return outcome


def _serialized(index: int) -> bytes:
    from rclpy.serialization import serialize_message

    data: bytes = serialize_message(encode_cloud(cloud(index, 50), (index, 0), 'lidar'))
    return data


def _break(folder: Path, number: int) -> None:
    """In one of three ways."""
    (file,) = [path for path in folder.iterdir() if path.suffix in ('.mcap', '.db3')]
    content = file.read_bytes()
    if number % 3 == 0:
        file.write_bytes(content[: len(content) // 2])
    elif number % 3 == 1:
        middle = len(content) // 2
        file.write_bytes(content[: middle - 200] + b'\xff' * 400 + content[middle + 200 :])
    else:
        (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
