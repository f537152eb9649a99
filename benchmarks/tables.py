# SPDX-License-Identifier: Apache-2.0
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
