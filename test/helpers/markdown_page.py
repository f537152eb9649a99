# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pages of the documentation: their code blocks, tables, links and headings."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
_BLOCK = re.compile(r'^```(\w*)\n(.*?)^```', re.DOTALL | re.MULTILINE)
_LINK = re.compile(r'\]\(([^)\s]+)\)')


def pages() -> list[Path]:
    """Returns README, CONTRIBUTING, the quality declaration and the pages of docs/."""
    top = [ROOT / f'{name}.md' for name in ('README', 'CONTRIBUTING', 'QUALITY_DECLARATION')]
    return [*top, *sorted(DOCS.glob('*.md'))]


def name_of(page: Path) -> str:
    """Returns the path of a page in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Returns the code blocks of a page in a language."""
    found = _BLOCK.findall(page.read_text(encoding='utf-8'))
    return [code for tag, code in found if tag == language]


def prose(page: Path) -> str:
    """Returns the text of a page without its code blocks."""
    return re.sub(r'^ *```.*?^ *```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)


def code_spans(page: Path) -> list[str]:
    """Returns the inline code of a page."""
    return [' '.join(span.split()) for span in re.findall(r'`([^`]+)`', prose(page))]


def rows(text: str) -> list[list[str]]:
    """Returns the cells of the table rows in a text, without headings."""
    lines = [line.strip() for line in text.splitlines()]
    rules = {index for index, line in enumerate(lines) if re.fullmatch(r'\|[-| ]+\|', line)}
    skipped = rules | {index - 1 for index in rules}
    return [
        [cell.strip() for cell in line.strip('|').split('|')]
        for index, line in enumerate(lines)
        if line.startswith('|') and index not in skipped
    ]


def links(page: Path) -> list[str]:
    """Returns the targets of the links and images of a page."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub and MyST give the headings of a page."""
    headings = re.findall(r'^#+ (.*)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', each.lower()).replace(' ', '-') for each in headings}
