# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Replacement of files: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_bev_ros.file_replacement import replacing


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path):
    path = tmp_path / 'state.txt'
    for text in ('one', 'two'):
        with replacing(path) as new:
            new.write_text(text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / 'state.txt'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), replacing(path) as new:
        new.write_text('half of the ne')
        raise KeyboardInterrupt
    assert path.read_text() == 'old'
