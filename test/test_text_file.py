# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Text files of any editor are read."""

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.text_file import read_text


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_text_is_the_same_in_every_form(tmp_path, encoding, end):
    path = tmp_path / 'file.txt'
    mark = '\ufeff' if encoding in ('utf-16-le', 'utf-16-be') else ''
    path.write_bytes(f'{mark}Größe 1{end}{end}last'.encode(encoding))
    assert read_text(path) == 'Größe 1\n\nlast'


def test_an_empty_file_is_empty_text(tmp_path):
    path = tmp_path / 'file.txt'
    path.write_bytes(b'')
    assert read_text(path) == ''


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        (None, 'cannot be read: No such file'),
        (b'caf\xe9 1', r'no text \(invalid continuation byte at 3\); expected UTF-8'),
        (b'\xff\xfea', 'expected UTF-8, or UTF-16 with a byte order mark'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is a Git LFS pointer'),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, error):
    path = tmp_path / 'file.txt'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TinyBevError, match=error):
        read_text(path)
