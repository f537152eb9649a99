# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from benchmark_result import transport

from benchmarks.transport.transport_report import ratio_to_plain, transport_tables


def lines() -> list[str]:
    return '\n'.join(transport_tables(transport())).splitlines()


def test_nodes():
    assert '| pipeline_node | 150.0 | 100.0..200.0 |' in lines()
    assert '| pipeline_node, float16 | reliable | 120.0 | 138.0 | 1 of 4 |' in lines()


def test_arrays():
    found = lines()
    assert '### 10 MB (1 x 64 x 200 x 200)' in found
    assert '| kept array.array | reliable | 10 | 55.0 | 59.5 | 2 of 4 | 3.0 | 5.0 |' in found
    assert '| kept array.array | best effort | 10 | - | - | 4 of 4 | 3.0 | 5.0 |' in found
    assert '| tiny_bev_ros, float32 | reliable | 30 | 33.0 | 33.0 | 0 of 4 | 3.0 | 5.0 |' in found


def test_the_ratio_is_that_of_the_lower_rate():
    rows = transport()['arrays']
    assert ratio_to_plain(rows[:3]) == 11.0 / 55.0
    ratios = [line for line in lines() if line.startswith('tiny_bev_ros takes')]
    assert ratios == [
        'tiny_bev_ros takes 0.20 of the time of the best plain method (kept array.array).'
    ]


def test_there_is_no_ratio_to_arrays_that_did_not_arrive():
    rows = transport()['arrays']
    assert ratio_to_plain(rows[3:]) is None


def test_a_benchmark_that_is_left_out_is_one_line():
    assert transport_tables({'left_out': ['The transport is left out: x']}) == [
        '- The transport is left out: x'
    ]
