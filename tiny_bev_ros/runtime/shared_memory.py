# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Shared-memory segments for whole tensors, under Fast DDS, the default middleware of ROS 2.

Its default segment holds 0.5 MB, so that a tensor of 10 MB is passed in pieces, and
best-effort readers lose nearly all of them. config/fastdds.xml enlarges the segment; UDP stays
for other machines.
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
# Name of the variable until Jazzy, and since Kilted, which warns of the former.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_OLD_DISTROS = ('humble', 'iron', 'jazzy')
_USER_VARIABLES = ('FASTDDS_BUILTIN_TRANSPORTS',)
_FOLDER = Path('/dev/shm')  # noqa: S108 - Fast DDS has its segments there
# Number of segments that must fit: Fast DDS allocates each at once, and nodes that start
# together count the memory of each other as free.
_SEGMENTS = 2
# Name of a segment, and of the file that its process keeps locked while it lives.
_SEGMENT = re.compile(r'fastrtps_[0-9a-f]{16}')
_LOCK = '{}_el'
# Younger files may belong to a process that is about to lock them.
_MIN_AGE_S = 5.0


def profile_environment() -> dict[str, str]:
    """Returns the variable that selects the profile; {} where the user has set one."""
    if any(name in os.environ for name in (*VARIABLES, *_USER_VARIABLES)):
        return {}
    try:
        # ROS from wheels, which sources nothing, is Jazzy.
        old = os.environ.get('ROS_DISTRO', 'jazzy') in _OLD_DISTROS
        return {VARIABLES[0 if old else 1]: config_file(PROFILE)}
    except (LookupError, OSError):  # a checkout that is not installed
        return {}


def enlarge_shared_memory() -> str:
    """Selects the profile for this process; call it before `rclpy.init`.

    Returns:
        '' or, where the segment does not fit, a line that names the shortage and the remedy.
    """
    rmw = os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    profile = profile_environment()
    if not profile or not rmw.startswith('rmw_fastrtps'):
        return ''
    remove_abandoned_segments()
    problem = shortage()
    if not problem:
        os.environ.update(profile)
    return problem


def remove_abandoned_segments() -> int:
    """Removes segments of killed processes, as `fastdds shm clean` does.

    Otherwise a node that is killed and restarted a hundred times leaks 6 GB of memory.

    Returns:
        Number of removed segments.
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
    """Returns True if the lock of a segment is old enough and no process holds it."""
    try:
        made = lock.stat()
        if made.st_mtime > time.time() - _MIN_AGE_S or made.st_uid != os.geteuid():
            return False
        with lock.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is locked or was removed
        return False
    return True


def shortage() -> str:
    """Returns '' or a line that names the shortage of shared memory and the remedy."""
    if not _FOLDER.is_dir():
        return ''
    free, needed = shutil.disk_usage(_FOLDER).free, _SEGMENTS * segment_size()
    if free >= needed:
        return ''
    return (
        f'{_FOLDER} has {free / 2**20:.0f} MiB free; expected {needed / 2**20:.0f} or more: '
        'large tensors will be slow, and lost with best effort. In Docker: --shm-size=512m'
    )


def segment_size() -> int:
    """Returns the size of a segment in bytes, as configured in the profile."""
    root = ElementTree.parse(config_file(PROFILE)).getroot()  # noqa: S314 - a file of this package
    (found,) = [element.text for element in root.iter() if element.tag.endswith('segment_size')]
    return int(found or 0)
