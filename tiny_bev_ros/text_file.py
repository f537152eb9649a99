# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Text files of any editor: with a byte order mark, in UTF-16, with CRLF."""

from __future__ import annotations

import codecs
from pathlib import Path

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.git_lfs import refuse_lfs_pointer

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: str | Path) -> str:
    """Reads a text file, without its byte order mark and with newlines as line ends.

    Raises:
        TinyBevError: the file cannot be read, is a Git LFS pointer, or holds no text.
    """
    refuse_lfs_pointer(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    try:
        text = content.decode('utf-16' if content.startswith(_UTF16) else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise TinyBevError(
            f'{path} holds bytes that are no text ({error.reason} at {error.start}); '
            'expected UTF-8, or UTF-16 with a byte order mark'
        ) from None
    return text.replace('\r\n', '\n').replace('\r', '\n')
