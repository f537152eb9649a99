# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Markdown tables of reports."""

from __future__ import annotations

from benchmarks.timing import median

SPREAD = 'min..max'


def as_table(head: list[str], rows: list[list[str]]) -> str:
    """Renders a Markdown table from a head and rows of cells."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def spread(values: list[float], form: str) -> list[str]:
    """Formats two cells: the median; minimum and maximum (head: SPREAD)."""
    return [format(median(values), form), f'{min(values):{form}}..{max(values):{form}}']
