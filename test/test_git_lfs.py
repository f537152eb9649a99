# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Git LFS pointers are told apart from other files."""

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.git_lfs import refuse_lfs_pointer

POINTER = (
    'version https://git-lfs.github.com/spec/v1\n'
    'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n'
    'size 24178\n'
)


@pytest.mark.parametrize('text', [POINTER, POINTER.replace('\n', '\r\n')])
def test_a_pointer_is_refused_with_the_size_of_its_file(tmp_path, text):
    path = tmp_path / 'weights.pth'
    path.write_bytes(text.encode())
    with pytest.raises(TinyBevError, match=r'weights\.pth is a Git LFS pointer.* 24178 bytes'):
        refuse_lfs_pointer(path)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'version 1', bytes(4096)])
def test_other_files_pass(tmp_path, content):
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    refuse_lfs_pointer(path)


def test_what_is_no_file_passes(tmp_path):
    refuse_lfs_pointer(tmp_path)
    refuse_lfs_pointer(tmp_path / 'missing')
