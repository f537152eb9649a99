# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files that survive a crash of the machine once they are in place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Flushes a file or a folder to its disk; a folder only where its file system can do so."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # as on some CIFS and FUSE mounts
            raise
    finally:
        os.close(handle)


def sync_folders(files: Iterable[Path], root: Path) -> None:
    """Flushes the folders of files up to a root, which makes new names in them durable."""
    folders = {
        parent
        for file in files
        for parent in file.parents
        if parent == root or root in parent.parents
    }
    for folder in sorted(folders):
        sync(folder)


def replace_text(path: Path, text: str, new: Path) -> None:
    """Replaces a text file in one step, as other machines may write the same file meanwhile.

    Its new name is durable after `sync_folders`.

    Args:
        path: file.
        text: content.
        new: path at which the new file is written first, on the same file system.
    """
    with new.open('w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.parent.mkdir(parents=True, exist_ok=True)
    new.replace(path)
