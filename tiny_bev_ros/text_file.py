# SPDX-License-Identifier: Apache-2.0
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
