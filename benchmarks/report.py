# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Markdown report of the benchmark's results."""

from __future__ import annotations

from typing import Any

from benchmarks.engine.backbone_costs import backbone_table
from benchmarks.engine.detection_costs import detection_table
from benchmarks.engine.end_to_end import CAPPED, PADDED
from benchmarks.engine.fusion_costs import fusion_table
from benchmarks.engine.isolated import untuned_sentence
from benchmarks.engine.scaling import PILLARS
from benchmarks.extraction.extraction_rates import extraction_table
from benchmarks.tables import SPREAD, as_table, spread
from benchmarks.timing import median
from benchmarks.transport.transport_report import transport_tables

_METHOD = """\
Method: the contenders of a table ran in one process and in turn, A B C A B C, with the same number
of threads, after a warm-up round. The allocator keeps large blocks for all of them, unless a line
says otherwise. Times are medians, with minimum and maximum. Errors are relative to the eager
float32 network: maximum and mean difference over the greatest magnitude, and the relative L2 norm;
the worst input counts.
Work: multiplications of the algorithm over those of the dense network. FMA peak: these
multiplications per second over those of a float32 matrix product of 2048 x 2048 in the same run
with the same number of threads (lower precisions may exceed it). Peak memory: growth of a process
of its own, with the first number of threads, while the contender was built and ran once.
Ratios compare the medians of one input; a table has their median, minimum and maximum over inputs.
Before it was timed, each contender was checked against the eager network on one input.
"""
_DETECTORS = """\
Contenders differ in backbone and heads alone: pillars, canvas and decoding are those of this
package, and the other runtimes have the exported network of backbone and heads. The second stage
is left out.
"""
_NOT_ENGINE = 'another network'
OURS = ('folded', 'engine')


def markdown(result: dict[str, Any]) -> str:
    """Renders all tables of the parts that were measured."""
    machine = ', '.join(f'{key} {value}' for key, value in result['machine'].items())
    parts = ['# Benchmark', machine]
    if result.keys() & {'engine', 'detectors'}:
        parts.append(_METHOD)
    if 'engine' in result:
        parts += _engine(result['engine'])
    if 'detectors' in result:
        parts += _detectors(result['detectors'])
    if 'transport' in result:
        parts += transport_tables(result['transport'])
    if 'extraction' in result:
        parts += ['## Extraction from bags', extraction_table(result['extraction'])]
    return '\n\n'.join(part.strip() for part in parts) + '\n'


def _engine(result: dict[str, Any]) -> list[str]:
    parts = [f'- {line}' for line in result['left_out']]
    parts += ['## Inputs', _inputs(result['runs'][0]['rows'])]
    for run in result['runs']:
        threads = thread_count(run)
        parts.append(f'## One pseudo-image of 496 x 432 to features, {threads}')
        parts.append(f'FMA peak: {run["fma_peak"] / 1e9:.1f} billion per second.')
        for kind in kinds(run['rows']):
            rows = select_kind(run['rows'], kind)
            count = len({row['input'] for row in rows})
            parts += [f'### {kind} ({count} inputs)', _contenders(rows, run, result)]
            parts += ['Times faster than', _ratios(rows)]
        if run['untuned']:
            parts.append(f'{untuned_sentence(run["untuned"])} ({result["alone_input"]}).')
        parts += [f'## PointCloud2 to features, {threads} ({result["alone_input"]})']
        parts += _end_to_end(run['end_to_end'])
    threads = f'threads {result["runs"][0]["threads"]}'
    parts += [f'## Backbones, {threads} ({result["alone_input"]})']
    parts += [backbone_table(result['backbones'])]
    parts += [f'## A camera, {threads}', fusion_table(result['fusion'])]
    scaling = result['scaling']
    parts.append(f'## Cost against occupancy, median ms, {threads} (random positions)')
    parts.append(_scaling(scaling['occupancy'], 'fraction of 496 x 432 cells', 'fraction'))
    parts.append(
        f'## Cost against range, median ms, {threads} ({PILLARS} pillars, random positions)'
    )
    parts.append(_scaling(scaling['range'], 'side, m', 'metres'))
    parts.append(
        f'Cost against range with {result["alone_input"]}, pillars distributed as in a street:'
    )
    parts.append(_sweep_scaling(scaling['range']))
    return parts


def _detectors(result: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    for run in result['runs']:
        threads = thread_count(run)
        parts += [f'## Objects and drivable area, {threads} ({result["alone_input"]}), median ms']
        parts += [detection_table(run['detection'])]
        parts += [f'## Points to objects and drivable area, {threads}', _DETECTORS]
        for each in run['maps']:
            parts += _map(each)
    return parts + [f'- {line}' for line in result['left_out']]


def thread_count(run: dict[str, Any]) -> str:
    """Returns the number of threads of a run with its noun."""
    return f'{run["threads"]} thread{"s" if run["threads"] > 1 else ""}'


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the kinds of inputs: the first words of their labels."""
    return list(dict.fromkeys(row['input'].split()[0] for row in rows))


def select_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Returns the rows of one kind of input."""
    return [row for row in rows if row['input'].split()[0] == kind]


def _inputs(rows: list[dict[str, Any]]) -> str:
    table = []
    for kind in kinds(rows):
        by_input = {row['input']: row['active_fraction'] for row in select_kind(rows, kind)}
        fractions = list(by_input.values())
        table.append([kind, str(len(fractions)), *spread(fractions, '.2%')])
    return as_table(['kind', 'inputs', 'active fraction of cells: median', SPREAD], table)


def ratios(peer_rows: list[dict[str, Any]], own_rows: list[dict[str, Any]]) -> list[float]:
    """Returns for each input the median time of a peer over that of a contender."""
    pairs = zip(peer_rows, own_rows, strict=True)
    return [median(peer['ms']) / median(own['ms']) for peer, own in pairs]


def by_contender(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups rows by contender, each group in the same order of inputs."""
    names = dict.fromkeys(row['contender'] for row in rows)
    return {name: [row for row in rows if row['contender'] == name] for name in names}


def _contenders(rows: list[dict[str, Any]], run: dict[str, Any], result: dict[str, Any]) -> str:
    head = ['', 'median ms', SPREAD, 'max error', 'mean error', 'rel. L2', 'work']
    table = []
    for name, own_rows in by_contender(rows).items():
        cells = [name, *spread([ms for row in own_rows for ms in row['ms']], '.1f')]
        for key in ('max_error', 'mean_error', 'l2_error'):
            errors = [row[key] for row in own_rows if key in row]
            cells.append(f'{max(errors):.1e}' if errors else _NOT_ENGINE)
        cells.append(f'{median([row["work_fraction"] for row in own_rows]):.1%}')
        per_second = [
            row['work_fraction'] * result['dense_multiplications'] / (median(row['ms']) / 1e3)
            for row in own_rows
        ]
        cells.append(f'{median(per_second) / run["fma_peak"]:.0%}')
        memory = result['memory'].get(name)
        cells.append('' if memory is None else f'{memory:.0f}')
        table.append(cells)
    head += ['of FMA peak', 'peak memory, MB']
    return as_table(head, [*table, *_left_out(run['left_out'], len(head))])


def _map(result: dict[str, Any]) -> list[str]:
    rows, head, table = result['rows'], ['', 'median ms', SPREAD, 'peak memory, MB'], []
    for name, own_rows in by_contender(rows).items():
        times = spread([ms for row in own_rows for ms in row['ms']], '.1f')
        memory = result.get('memory', {}).get(name)
        table.append([name, *times, '' if memory is None else f'{memory:.0f}'])
    height, width = result['shape']
    inputs = f'{len({row["input"] for row in rows})} inputs: {kinds(rows)[0]}'
    return [
        f'### {result["map"]}, {height} x {width} cells ({inputs})',
        as_table(head, [*table, *_left_out(result['left_out'], len(head))]),
        'Times faster than',
        _ratios(rows),
    ]


def _left_out(reasons: dict[str, str], width: int) -> list[list[str]]:
    """Returns a row of a table for each contender that is left out."""
    return [
        [name, f'left out: {reason}'.replace('|', '/'), *[''] * (width - 2)]
        for name, reason in reasons.items()
    ]


def _ratios(rows: list[dict[str, Any]]) -> str:
    by_name = by_contender(rows)
    peers = [name for name in by_name if not name.startswith(OURS)]
    table = []
    for name, own_rows in by_name.items():
        if name.startswith(OURS):
            table.append([name, *[_times_faster(by_name[peer], own_rows) for peer in peers]])
    return as_table(['', *peers], table)


def _times_faster(peer_rows: list[dict[str, Any]], own_rows: list[dict[str, Any]]) -> str:
    values = ratios(peer_rows, own_rows)
    return f'{median(values):.2f} ({min(values):.2f}..{max(values):.2f})'


def _end_to_end(rows: list[dict[str, Any]]) -> list[str]:
    ms = {row['name']: median(row['ms']) for row in rows}
    head = ['', 'median ms', SPREAD]
    table = {row['name']: [row['name'], *spread(row['ms'], '.1f')] for row in rows}
    whole = [row['name'] for row in rows if row['whole']]
    compared = [
        [*table.pop(name), *[f'{ms[peer] / ms[name]:.2f}' for peer in (PADDED, CAPPED)]]
        for name in whole
    ]
    return [
        as_table([*head, 'times faster than padded', 'than capped'], compared),
        'Stages (the straightforward methods take 32 points of a pillar, the engine all):',
        as_table(head, list(table.values())),
    ]


def _scaling(rows: list[dict[str, Any]], unit: str, key: str) -> str:
    table = []
    for row in rows:
        ms = [f'{median(row["ms"][sparsity]):.1f}' for sparsity in ('always', 'auto', 'never')]
        table.append([f'{row[key]:g}', *ms])
    return as_table([unit, 'sparse', 'auto', 'dense'], table)


def _sweep_scaling(rows: list[dict[str, Any]]) -> str:
    table = [
        [f'{row["metres"]:g}', str(row['sweep_pillars']), f'{median(row["ms"]["sweep"]):.1f}']
        for row in rows
    ]
    return as_table(['side, m', 'pillars', 'sparse'], table)
