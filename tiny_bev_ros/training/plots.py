# SPDX-License-Identifier: Apache-2.0
"""The losses of a training run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

_NOT_LOSSES = ('step', 'rate', 'seconds')


def draw_curves(log: Path, path: Path) -> None:
    """Writes a PNG with each loss and the learning rate over the steps."""
    with log.open(newline='') as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    steps = [row['step'] for row in rows]
    figure = Figure(figsize=(10, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for name in rows[0] if rows else ():
        if name not in _NOT_LOSSES:
            left.plot(steps, [row[name] for row in rows], label=name, linewidth=0.8)
    left.set(xlabel='step', ylabel='loss', yscale='log')
    left.grid(alpha=0.3)
    left.legend()
    right.plot(steps, [row['rate'] for row in rows], color='black')
    right.set(xlabel='step', ylabel='learning rate')
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
