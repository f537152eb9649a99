# SPDX-License-Identifier: Apache-2.0
"""Room in shared memory for whole tensors, under Fast DDS, the default middleware of ROS 2.

As shipped its segment holds 0.5 MB, so that a tensor of 10 MB is handed over piece by piece, and
readers with best effort lose nearly all of them. config/fastdds.xml makes it larger; UDP stays for
other machines.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

from tiny_bev_ros.config import config_file

PROFILE = 'fastdds.xml'
# Its name until Jazzy, and since Kilted, which warns of the former.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_FORMER = ('humble', 'iron', 'jazzy')
_ALSO_THE_USERS = ('FASTDDS_BUILTIN_TRANSPORTS',)
_FOLDER = Path('/dev/shm')  # noqa: S108 - it is where Fast DDS has its segments
# Segments for which there must be room: Fast DDS takes the memory of each at once, and nodes
# that are started together see each other's as free.
_SEGMENTS = 2


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
    problem = shortage()
    if not problem:
        os.environ.update(wanted)
    return problem


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
