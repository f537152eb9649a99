# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tables of docs/benchmarks.md about the engine and its peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engine.contenders import POINTPILLARS
from benchmarks.engine.detection_costs import stage_medians
from benchmarks.report import by_contender, kinds, ratios, select_kind, thread_count
from benchmarks.tables import as_table
from benchmarks.timing import median
from tiny_bev_ros.errors import TinyBevError

_PEERS = {
    'eager': 'PyTorch, as written',
    'torch.compile': 'torch.compile',
    'ONNX Runtime float32': 'ONNX Runtime, float32',
    'ONNX Runtime int8': 'ONNX Runtime, int8',
    'OpenVINO float32': 'OpenVINO, float32',
    'OpenVINO bfloat16': 'OpenVINO, bfloat16',
    'OpenVINO int8': 'OpenVINO, int8',
    POINTPILLARS: 'backbone of PointPillars (OpenPCDet, mmdetection3d)',
}
_ENGINES = {
    'engine float32': '**tiny_bev_ros, float32**',
    'engine bfloat16': '**tiny_bev_ros, bfloat16**',
}
_KINDS = {'sweep': 'sweeps', 'front': "camera's view"}
_COMPARED = (
    'ONNX Runtime float32',
    'OpenVINO float32',
    'OpenVINO bfloat16',
    'ONNX Runtime int8',
    'OpenVINO int8',
)
Rows = list[dict[str, Any]]


def document_tables(result: dict[str, Any]) -> dict[str, str]:
    """Renders what docs/benchmarks.md has of the measured parts, by the name of its marks."""
    values = ', '.join(f'{key} {value}' for key, value in result['machine'].items())
    machine, tables = f'Measured {values}.', {}
    if 'engine' in result:
        runs = result['engine']['runs']
        tables |= {
            'backbone_machine': machine,
            'backbone': _backbone(runs),
            'backbone_ratios': _ratios([('backbone', run, _sweeps(run)) for run in runs]),
        }
    if 'detectors' in result:
        runs = result['detectors']['runs']
        maps = [(each['map'], run, each['rows']) for run in runs for each in run['maps']]
        tables |= {
            'detectors_machine': machine,
            'detectors': _detectors(runs),
            'detectors_ratios': _ratios(maps),
            'stages': _stages(runs[0]['detection']),
        }
    return tables


def replace_tables(document: Path, tables: dict[str, str]) -> None:
    """Replaces the text between the marks of each table in a document.

    Raises:
        TinyBevError: the document lacks the marks of a table; it stays as it is.
    """
    text = document.read_text()
    for name, table in tables.items():
        begin, end = f'<!-- {name}: begin -->', f'<!-- {name}: end -->'
        before, _, rest = text.partition(begin)
        if end not in rest:
            raise TinyBevError(f'{document} has no marks of {name}; expected {begin} and {end}')
        text = f'{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}'
    document.write_text(text)


def _backbone(runs: list[dict[str, Any]]) -> str:
    columns: dict[str, Rows] = {}
    first, *others = kinds(runs[0]['rows'])
    for run in runs:
        columns[_column(first, run)] = select_kind(run['rows'], first)
    for kind in others:
        columns[_column(kind, runs[0])] = select_kind(runs[0]['rows'], kind)
    errors = {'eager': ''}
    for name, rows in by_contender(runs[0]['rows']).items():
        found = [row['max_error'] for row in rows if 'max_error' in row]
        errors.setdefault(name, f'{max(found):.0e}' if found else 'another network')
    left_out = {name: why for run in runs for name, why in run['left_out'].items()}
    return _times(columns, left_out, ('largest error', errors))


def _detectors(runs: list[dict[str, Any]]) -> str:
    columns, left_out = {}, {}
    for run in runs:
        for each in run['maps']:
            columns[_column(each['map'], run)] = each['rows']
            left_out.update(each['left_out'])
    return _times(columns, left_out)


def _sweeps(run: dict[str, Any]) -> Rows:
    return select_kind(run['rows'], kinds(run['rows'])[0])


def _ratios(subjects: list[tuple[str, dict[str, Any], Rows]]) -> str:
    """Renders how many times faster the engine is: the median over the inputs, and the worst.

    Args:
        subjects: name of what is computed, its run, and its rows.
    """
    table = []
    for subject, run, rows in subjects:
        by_name = by_contender(rows)
        for own in _ENGINES.keys() & by_name.keys():
            label = f'{_column(subject, run)}, {own.removeprefix("engine ")}'
            cells = [_ratio(by_name.get(peer, []), by_name[own]) for peer in _COMPARED]
            table.append([label, *cells])
    return as_table(['median (worst)', *[_PEERS[peer] for peer in _COMPARED]], sorted(table))


def _ratio(peer_rows: Rows, own_rows: Rows) -> str:
    if not peer_rows:
        return ''
    values = ratios(peer_rows, own_rows)
    return f'{median(values):.1f} ({min(values):.1f})'


def _stages(rows: Rows) -> str:
    table = []
    for (name, precision), times in stage_medians(rows).items():
        cells = (sum(times[:2]), *times[2:])
        table.append([f'{name}, {precision}', *(f'{each:.0f}' for each in cells)])
    head = ['', 'points to BEV features', 'heads in addition', 'second stage in addition']
    return as_table(head, table)


def _column(kind: str, run: dict[str, Any]) -> str:
    return f'{_KINDS.get(kind, kind)}, {thread_count(run)}'


def _times(
    columns: dict[str, Rows],
    left_out: dict[str, str],
    last: tuple[str, dict[str, str]] | None = None,
) -> str:
    """Renders median times by contender and column, then why contenders are left out."""
    by_name = {column: by_contender(rows) for column, rows in columns.items()}
    table = []
    for name, label in (_PEERS | _ENGINES).items():
        rows = [groups.get(name, []) for groups in by_name.values()]
        if any(rows) or name in left_out:
            cells = [f'{_median(each):.0f}' if each else 'left out' for each in rows]
            table.append([label, *cells, *([last[1].get(name, '')] if last else [])])
    head = ['', *columns, *([last[0]] if last else [])]
    labels = _PEERS | _ENGINES
    reasons = [
        f'{labels[name].strip("*")} is left out: {why}.'
        for name, why in left_out.items()
        if name in labels
    ]
    return '\n\n'.join([as_table(head, table), *reasons])


def _median(rows: Rows) -> float:
    return median([ms for row in rows for ms in row['ms']])
