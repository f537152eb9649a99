# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Git LFS pointers: small text files in place of files that were not downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from tiny_bev_ros.errors import TinyBevError

_BEGIN = b'version https://git-lfs.github.com/spec/'
# Longest pointer that the specification allows.
_MAX_BYTES = 1024


def refuse_lfs_pointer(path: str | Path) -> None:
    """Refuses a Git LFS pointer; other files, and missing ones, pass.

    Raises:
        TinyBevError: the file is a pointer; the message names the command that downloads it.
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            text = file.read(_MAX_BYTES)
    except OSError:
        return  # the reader of the file reports why it cannot be read
    if not text.startswith(_BEGIN):
        return
    size = re.search(rb'^size (\d+)', text, re.MULTILINE)
    target = f'for a file of {int(size[1])} bytes' if size else 'for a file'
    raise TinyBevError(
        f'{path} is a Git LFS pointer {target}; expected the file itself: run `git lfs pull` '
        'in the repository'
    )
