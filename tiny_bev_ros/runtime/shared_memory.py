# SPDX-License-Identifier: Apache-2.0
"""Room in shared memory for whole tensors, under Fast DDS, the default middleware of ROS 2.

As shipped its segment holds 0.5 MB, so that a tensor of 10 MB is handed over piece by piece, and
readers with best effort lose nearly all of them. config/fastdds.xml makes it larger; UDP stays for
other machines.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from pathlib import Path
from xml.etree import ElementTree

from tiny_bev_ros.resources import config_file

PROFILE = 'fastdds.xml'
# Its name until Jazzy, and since Kilted, which warns of the former.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_FORMER = ('humble', 'iron', 'jazzy')
_ALSO_THE_USERS = ('FASTDDS_BUILTIN_TRANSPORTS',)
_FOLDER = Path('/dev/shm')  # noqa: S108 - it is where Fast DDS has its segments
# Segments for which there must be room: Fast DDS takes the memory of each at once, and nodes
# that are started together see each other's as free.
_SEGMENTS = 2
# A segment, and the file that its process keeps locked as long as it lives.
_SEGMENT = re.compile(r'fastrtps_[0-9a-f]{16}')
_LOCK = '{}_el'
# Younger ones may belong to a process that is about to lock them.
_OLD_S = 5.0


def profile_environment() -> dict[str, str]:
    """The variable that makes the profile Fast DDS's; none where users have set their own."""
    if any(name in os.environ for name in (*VARIABLES, *_ALSO_THE_USERS)):
        return {}
    try:
        # Where no ROS is sourced it is Jazzy, from wheels.
        former = os.environ.get('ROS_DISTRO', 'jazzy') in _FORMER
        return {VARIABLES[0 if former else 1]: config_file(PROFILE)}
    except (LookupError, OSError):  # run from a checkout that is not installed
        return {}


def enlarge_shared_memory() -> str:
    """Sets the profile for this process; call it before `rclpy.init`.

    Returns:
        '' or, where there is no room for the segment, what that means and what helps.
    """
    rmw = os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    wanted = profile_environment()
    if not wanted or not rmw.startswith('rmw_fastrtps'):
        return ''
    remove_abandoned()
    problem = shortage()
    if not problem:
        os.environ.update(wanted)
    return problem


def remove_abandoned() -> int:
    """Removes segments whose process is gone, and was killed before it could do so itself.

    Without that a node that is killed and started again a hundred times takes 6 GB of memory.
    It is what `fastdds shm clean` does.

    Returns:
        How many there were.
    """
    count = 0
    for path in _FOLDER.glob('fastrtps_*') if _FOLDER.is_dir() else ():
        lock = path.with_name(_LOCK.format(path.name))
        if _SEGMENT.fullmatch(path.name) and _is_free(lock):
            path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            count += 1
    return count


def _is_free(lock: Path) -> bool:
    """Whether a lock is ours to take, and was made long enough ago."""
    try:
        made = lock.stat()
        if made.st_mtime > time.time() - _OLD_S or made.st_uid != os.geteuid():
            return False
        with lock.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is locked, or gone by now
        return False
    return True


def shortage() -> str:
    """'' or a line that says that there is too little room, and the remedy."""
    if not _FOLDER.is_dir():
        return ''
    free, wanted = shutil.disk_usage(_FOLDER).free, _SEGMENTS * segment_size()
    if free >= wanted:
        return ''
    return (
        f'{_FOLDER} has {free / 2**20:.0f} MiB free; expected {wanted / 2**20:.0f} or more: '
        'large tensors will be slow, and lost with best effort. In Docker: --shm-size=512m'
    )


def segment_size() -> int:
    """Bytes of a process's segment, as the profile has it."""
    root = ElementTree.parse(config_file(PROFILE)).getroot()  # noqa: S314 - our own file
    (found,) = [element.text for element in root.iter() if element.tag.endswith('segment_size')]
    return int(found or 0)
