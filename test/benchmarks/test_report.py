# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import pytest
from benchmark_result import result

from benchmarks.report import markdown


def lines_of(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f'| {name} |')]


def test_contenders():
    text = markdown(result())
    # Sweeps and random maps, with 1 and with 2 threads: times and ratios of each.
    engine = lines_of(text, 'engine float32')
    assert len(engine) == 8 + 4
    # 0.1 of 1e8 multiplications in 10 and in 20 ms: 10 % and 5 % of 1e10 per second.
    assert engine[0] == (
        '| engine float32 | 20.0 | 10.0..40.0 | 3.0e-07 | 1.0e-08 | 2.0e-07 | 10.0% | 8% |  |'
    )
    assert engine[1] == '| engine float32 | 3.00 (2.00..4.00) | 6.00 (4.00..8.00) |'
    assert lines_of(text, 'eager')[0].endswith('| 100.0% | 25% | 200 |')
    assert lines_of(text, 'PointPillars backbone')[0].count('another network') == 3


def test_a_contender_that_is_left_out_is_a_row():
    text = markdown(result())
    # Sweeps and random maps, with 1 and with 2 threads.
    row = '| torch.compile | left out: RuntimeError: no compiler |  |  |  |  |  |  |  |'
    assert lines_of(text, 'torch.compile') == [row] * 4
    assert lines_of(text, 'OpenVINO float32')[0].startswith(
        '| OpenVINO float32 | left out: a / b |'
    )


def test_points_to_boxes():
    text = markdown(result())
    part = text[text.index('## Points to objects and drivable area, 1 thread') :]
    assert '### around, 512 x 512 cells (2 inputs: sweep)' in part
    assert '- Peak memory of OpenVINO is left out: no memory' in part
    assert lines_of(part, 'ONNX Runtime float32')[0] == (
        '| ONNX Runtime float32 | 90.0 | 60.0..120.0 | 300 |'
    )
    assert lines_of(part, 'engine float32')[0].endswith('| 20.0..40.0 |  |')
    assert lines_of(part, 'engine float32')[1] == '| engine float32 | 3.00 (3.00..3.00) |'
    assert (
        lines_of(part, 'OpenVINO bfloat16')[0] == '| OpenVINO bfloat16 | left out: no BF16 |  |  |'
    )


def test_inputs_stages_and_scaling():
    text = markdown(result())
    assert '- Peak memory of eager is left out: no memory' in text
    assert '| sweep | 2 | 2.00% | 2.00%..2.00% |' in text
    assert 'FMA peak: 10.0 billion per second' in text
    assert 'eager, allocator untuned: 60.0 ms (60.0..60.0), 1.50 times' in text
    assert lines_of(text, 'pillars to engine, float32')[0].endswith('| 10.00 | 5.00 |')
    assert lines_of(text, 'engine: pillars')[0].endswith('| 3.0 | 3.0..3.0 |')
    assert lines_of(text, '0.1') == ['| 0.1 | 1.0 | 2.0 | 9.0 |']
    assert lines_of(text, '90') == ['| 90 | 1.0 | 2.0 | 9.0 |', '| 90 | 7000 | 5.0 |']
    assert '\n\n\n' not in text


def test_every_row_of_a_table_has_the_cells_of_its_head():
    rows = [line for line in markdown(result()).splitlines() if line.startswith('|')]
    widths: list[int] = []
    for line, after in zip(rows, [*rows[1:], ''], strict=True):
        if after.startswith('| ---'):
            widths.append(line.count('|'))
        assert line.count('|') == widths[-1]
    assert len(widths) > 10


@pytest.mark.parametrize('part', ['engine', 'detectors', 'transport'])
def test_each_part_alone(part: str):
    words = {
        'engine': '## Cost against occupancy',
        'detectors': '### around, 512 x 512 cells',
        'transport': '## Latency of the nodes',
    }
    whole = result()
    text = markdown({'machine': whole['machine'], part: whole[part]})
    assert [name for name in words if words[name] in text] == [part]
    assert text.count('Method: the contenders') == (part != 'transport')
