# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Language of docstrings and comments: the first word says what a thing is or does."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ('tiny_bev_ros', 'launch', 'benchmarks', 'experiments', 'examples', 'test')
# Openings after which the reader still does not know what the thing is.
_WORDS = r'(?:What|Whether|Of|How|Is to be|The same|Those that|That which)'
# At the start, of a sentence, of a paragraph, or of what is said of an argument.
_OPENING = re.compile(rf'(?:\A|[.!?]\s+|\n\s*\n\s*){_WORDS}\b')
_ARGUMENT = re.compile(rf'\n\s*[`*\w, ]+: {_WORDS}\b', re.IGNORECASE)


def texts(source: str) -> list[tuple[int, str]]:
    """Docstrings and blocks of comments, each with its line."""
    tree = ast.parse(source)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    found = [(node.body[0].lineno, doc) for node in nodes if (doc := ast.get_docstring(node))]
    previous = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != previous + 1:  # the first of its block
                found.append((line, token.string.lstrip('#:! ')))
            previous = line
    return found


def violations(path: Path) -> list[str]:
    return [
        f'{path}:{line}: {match[0].strip()}...'
        for line, text in texts(path.read_text(encoding='utf-8'))
        for match in (*_OPENING.finditer(text), *_ARGUMENT.finditer(text))
    ]


@pytest.mark.parametrize('room', ROOMS)
def test_no_sentence_opens_without_its_noun(room: str):
    found = [line for path in sorted((ROOT / room).rglob('*.py')) for line in violations(path)]
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(
    ('text', 'wrong'),
    [
        ('What comes of it.', True),
        ('Counts. Whether it is worth it is measured.', True),
        ('Draws.\n\nArgs:\n    x: of the map.', True),
        ('Draws.\n\nArgs:\n    x, y: how far.', True),
        ('Counts what comes of it.', False),
        ('Draws.\n\nArgs:\n    x: width of the map.', False),
        ('Often. However, offsets are not.', False),
    ],
)
def test_an_opening_is_found(text: str, wrong: bool):
    assert bool(_OPENING.search(text) or _ARGUMENT.search(text)) is wrong


if __name__ == '__main__':  # python test/test_language.py PATH ...: lists what is to be reworded
    import sys

    for name in sys.argv[1:]:
        files = [Path(name)] if name.endswith('.py') else sorted(Path(name).rglob('*.py'))
        print('\n'.join(line for file in files for line in violations(file)))
