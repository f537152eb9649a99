# SPDX-License-Identifier: Apache-2.0
"""Logger for tests that keeps its lines."""

from __future__ import annotations


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, line: str) -> None:
        self.lines.append(line)

    warning = info = error
