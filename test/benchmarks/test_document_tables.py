# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.

import re
from pathlib import Path

import benchmark_result
import pytest

from benchmarks.document_tables import document_tables, replace_tables
from tiny_bev_ros.errors import TinyBevError

PAGE = Path(__file__).parents[2] / 'docs/benchmarks.md'


def tables() -> dict[str, str]:
    return document_tables(benchmark_result.result())


def test_the_page_has_the_marks_of_each_table():
    marks = re.findall(r'<!-- (\w+): begin -->.+?<!-- (\w+): end -->', PAGE.read_text(), re.DOTALL)
    assert [begin for begin, _ in marks] == [end for _, end in marks]
    assert {begin for begin, _ in marks} == tables().keys()


def test_only_the_text_between_marks_is_replaced(tmp_path: Path):
    page = tmp_path / 'x.md'
    page.write_text(
        'a\n<!-- b: begin -->\nold\n<!-- b: end -->\nc <!-- d: begin -->x<!-- d: end -->'
    )
    replace_tables(page, {'d': 'new', 'b': 'newer'})
    assert page.read_text() == (
        'a\n<!-- b: begin -->\nnewer\n<!-- b: end -->\nc <!-- d: begin -->\nnew\n<!-- d: end -->'
    )


@pytest.mark.parametrize('text', ['<!-- b: end -->', '<!-- b: begin -->old'])
def test_a_page_without_the_marks_of_a_table_stays(tmp_path: Path, text: str):
    page = tmp_path / 'x.md'
    page.write_text(text)
    with pytest.raises(TinyBevError, match=r'x\.md has no marks of b; expected <!-- b: begin -->'):
        replace_tables(page, {'b': 'new'})
    assert page.read_text() == text


def test_times_of_the_backbone():
    lines = tables()['backbone'].splitlines()
    head = '|  | sweeps, 1 thread | sweeps, 2 threads | random, 1 thread | largest error |'
    assert lines[0] == head
    assert '| PyTorch, as written | 40 | 40 | 40 |  |' in lines
    assert '| **tiny_bev_ros, float32** | 20 | 20 | 40 | 3e-07 |' in lines
    assert '| torch.compile | left out | left out | left out |  |' in lines
    assert 'torch.compile is left out: RuntimeError: no compiler.' in lines
    assert tables()['backbone_machine'] == 'Measured cores 2.'


def test_times_and_ratios_of_the_detector():
    found = tables()
    lines = found['detectors'].splitlines()
    assert lines[0] == '|  | around, 1 thread | around, 2 threads |'
    assert '| ONNX Runtime, float32 | 90 | 90 |' in lines
    assert '| OpenVINO, bfloat16 | left out | left out |' in lines
    rows = found['detectors_ratios'].splitlines()
    assert '| around, 1 thread, float32 | 3.0 (3.0) |  |  |  |  |' in rows
    rows = found['backbone_ratios'].splitlines()
    assert '| backbone, 2 threads, float32 |  |  |  |  |  |' in rows


@pytest.mark.parametrize('part', ['engine', 'detectors'])
def test_a_part_alone_has_the_tables_of_its_own(part: str):
    whole = benchmark_result.result()
    found = document_tables({'machine': whole['machine'], part: whole[part]})
    assert ('backbone_ratios' in found) == (part == 'engine')
    assert ('detectors_ratios' in found) == (part == 'detectors')
    assert found.items() < tables().items()


@pytest.mark.parametrize('runtime', ['ONNX Runtime', 'OpenVINO'])
def test_int8_has_rows_and_ratios(runtime: str):
    result = benchmark_result.result()
    # Both runs share these lists.
    backbones, shipped = (result[part]['runs'][0] for part in ('engine', 'detectors'))
    for rows in (backbones['rows'], shipped['maps'][0]['rows']):
        own = [row for row in rows if row['contender'] == 'engine float32']
        rows += [
            {**row, 'contender': f'{runtime} int8', 'ms': [ms / 2 for ms in row['ms']]}
            for row in own
        ]
    found = document_tables(result)
    assert f'| {runtime}, int8 | 15 | 15 |' in found['detectors'].splitlines()
    assert f'| {runtime}, int8 | 10 | 10 | 20 | 3e-07 |' in found['backbone'].splitlines()
    for part in ('backbone', 'detectors'):
        head, _, *rows = (line.split(' | ') for line in found[f'{part}_ratios'].splitlines())
        column = next(i for i, name in enumerate(head) if name.strip(' |') == f'{runtime}, int8')
        assert [row[column].strip(' |') for row in rows] == ['0.5 (0.5)'] * 2


def test_stages():
    assert '| around, bfloat16 | 20 | 10 | 3 |' in tables()['stages'].splitlines()
