# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of the benchmark's reports."""

from __future__ import annotations

from benchmarks.timing import median


def as_table(head: list[str], rows: list[list[str]]) -> str:
    """A head and its rows."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def spread(values: list[float], form: str) -> list[str]:
    """Two cells: the median, and the least with the greatest."""
    return [format(median(values), form), f'{min(values):{form}}..{max(values):{form}}']
