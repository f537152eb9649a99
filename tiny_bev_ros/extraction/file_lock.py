# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Lock of a file between processes and machines."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


class FileLock:
    """Exclusive lock, which ends with this process, even if it is killed.

    The file is made, and removed by `close`.

    Args:
        path: path of the file.
        wait: True to wait until no other process has the lock.

    Attributes:
        supported: False where the file system has no locks.

    Raises:
        BlockingIOError: another process has the lock.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, wait: bool = False) -> None:
        self._path = path
        self.supported = True
        while True:
            self._handle = _open(path)
            try:
                self._lock(wait)
                if not self.supported or _is_at(path, self._handle):
                    return
            except BaseException:
                os.close(self._handle)
                raise
            os.close(self._handle)  # Its owner removed the file in the meantime.

    def close(self) -> None:
        """Removes the file, then ends the lock: the other way round, another one might have it."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)

    def _lock(self, wait: bool) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BlockingIOError(error.errno, error.strerror, str(self._path)) from None
            self.supported = False  # as on some network file systems


def _open(path: Path) -> int:
    """Opens a file for writing, without which NFS gives no exclusive lock."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # Another process has just removed the folder.
            continue


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
