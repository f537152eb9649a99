# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Figures of the benchmark's results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.engine.scaling import PILLARS
from benchmarks.report import OURS, kinds, select_kind
from benchmarks.timing import median

_LEGENDS = {
    'never': 'dense',
    'always': 'sparse',
    'auto': 'auto',
    'sweep': 'sparse, pillars of a sweep',
}
_OURS, _PEERS = 'tab:orange', 'tab:blue'


def plot_scaling(scaling: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Plots the time of a frame against occupancy, and against the size of the map.

    Args:
        scaling: result of `benchmarks.engine.scaling.measure_scaling`.
        path: PNG file to write.
    """
    figure = Figure(figsize=(12, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for axes, name, key, label in (
        (left, 'occupancy', 'fraction', 'fraction of non-empty cells (random positions)'),
        (right, 'range', 'metres', f'side of the map [m], {PILLARS} pillars at random positions'),
    ):
        rows = scaling[name]
        for sparsity, legend in _LEGENDS.items():
            if sparsity in rows[0]['ms']:
                style = '--' if sparsity == 'auto' else '-'
                values = [median(row['ms'][sparsity]) for row in rows]
                axes.plot([row[key] for row in rows], values, f'o{style}', label=legend)
        axes.set(xlabel=label, ylabel='ms per frame')
        axes.set_yscale('log')
        _few_ticks(axes, 'y')
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_xscale('log')
    figure.savefig(path, dpi=110)


def plot_contenders(runs: list[dict[str, Any]], path: Path) -> None:
    """Plots the times of each contender over the inputs of the first kind, a panel per run.

    Args:
        runs: runs with 'threads' and 'rows', as `benchmarks.run.measure_engine` returns them.
        path: PNG file to write.
    """
    kind = kinds(runs[0]['rows'])[0]
    names = list(dict.fromkeys(row['contender'] for run in runs for row in run['rows']))
    size = (5 + 5 * len(runs), 1.5 + 0.4 * len(names))
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for axes, run in zip(panels, runs, strict=True):
        rows = select_kind(run['rows'], kind)
        for position, name in enumerate(names):
            values = [ms for row in rows if row['contender'] == name for ms in row['ms']]
            if values:
                colour = _OURS if name.startswith(OURS) else _PEERS
                _box(axes, values, position, colour)
        count = len({row['input'] for row in rows})
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set(
            title=f'{count} inputs: {kind}, threads: {run["threads"]}',
            xlabel='ms per frame: median, quartiles, minimum and maximum',
        )
        axes.set_xscale('log')
        axes.set_xmargin(0.12)
        _few_ticks(axes, 'x')
        axes.grid(axis='x', alpha=0.3)
    panels[0].legend(
        handles=[Patch(color=_PEERS, label='peers'), Patch(color=_OURS, label='this package')]
    )
    figure.savefig(path, dpi=110)


def _box(axes: Axes, values: list[float], position: int, colour: str) -> None:
    axes.boxplot(
        values,
        positions=[position],
        orientation='horizontal',
        whis=(0, 100),
        widths=0.6,
        patch_artist=True,
        manage_ticks=False,
        boxprops={'facecolor': colour, 'alpha': 0.6},
        medianprops={'color': 'black'},
    )
    axes.annotate(
        f'{median(values):.0f}',
        (max(values), position),
        xytext=(4, 0),
        textcoords='offset points',
        va='center',
        fontsize='small',
    )


def _few_ticks(axes: Axes, which: str) -> None:
    """Sets ticks at 1, 2, 5, 10, 20, ... as plain numbers on a logarithmic axis."""
    axis = getattr(axes, f'{which}axis')
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_locator(NullLocator())
