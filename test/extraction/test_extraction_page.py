# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Snippets of the page on extraction run on extracted files and a bag."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('pyarrow', 'rosbags')

import ast
from pathlib import Path

import pytest
from extracted_frames import write_run
from markdown_page import DOCS, blocks

from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions
from tiny_bev_ros.optional_imports import import_optional

SNIPPETS = blocks(DOCS / 'extraction.md', 'python')


def imported(code: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(code)))
    names = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    return names | {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, frames: list[ExtractedFrame]) -> Path:
    """Folder with the extracted files that the snippets read."""
    folder = tmp_path_factory.mktemp('extraction')
    what = ('detections', 'drivable', 'features')
    write_run(folder / 'out', OutputOptions(what[:2]), frames)
    write_run(folder / 'features_out', OutputOptions(what[2:], dtype='int8'), frames)
    return folder


def test_there_are_snippets_for_each_reader():
    modules = set().union(*map(imported, SNIPPETS))
    assert {'pandas', 'polars', 'duckdb', 'pyarrow', 'safetensors', 'tiny_bev_ros'} <= modules


@pytest.mark.parametrize('number', range(len(SNIPPETS)))
def test_snippets_run(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch):
    code = SNIPPETS[number]
    for module in imported(code):
        if reason := import_optional(module).reason:
            pytest.skip(reason)
    if 'read_bag' in code:
        from tiny_bev_ros.bag.street_bag import make_street_bag

        make_street_bag(folder / 'street', count=1)
    monkeypatch.chdir(folder)
    monkeypatch.setenv('MPLBACKEND', 'agg')
    exec(compile(code, f'extraction.md-{number}', 'exec'), {})
