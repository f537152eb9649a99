# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Small benchmark results in the format of the report and its figures."""

from __future__ import annotations

from typing import Any

# Milliseconds of the stages from points to objects.
STAGES = {'pillars': 4.0, 'backbone': 16.0, 'heads': 10.0, 'refinement': 3.0}


def result() -> dict[str, Any]:
    def row(contender: str, label: str, ms: float, **more: float) -> dict[str, Any]:
        values = {'active_fraction': 0.02, 'work_fraction': 1.0, **more}
        return {'input': label, 'contender': contender, 'ms': [ms, 2 * ms, ms], **values}

    exact = {'max_error': 0.0, 'mean_error': 0.0, 'l2_error': 0.0}
    close = {'max_error': 3e-7, 'mean_error': 1e-8, 'l2_error': 2e-7, 'work_fraction': 0.1}
    rows = []
    for label, ms in (('sweep 1', 10.0), ('sweep 2', 20.0), ('random 0', 40.0)):
        rows += [
            row('eager', label, 40.0, **exact),
            row('PointPillars backbone', label, 80.0),
            row('engine float32', label, ms, **close),
        ]
    sparsities = {'always': [1.0], 'auto': [2.0], 'never': [9.0]}
    ends = {
        'straightforward: padded PFN, canvas, eager': 100.0,
        'straightforward: capped PFN without padding, canvas, eager': 50.0,
        'pillars to engine, float32': 10.0,
    }
    run = {
        'fma_peak': 1e10,
        'rows': rows,
        'left_out': {'torch.compile': 'RuntimeError: no compiler', 'OpenVINO float32': 'a | b'},
        'end_to_end': [
            *[{'name': name, 'whole': True, 'ms': [ms]} for name, ms in ends.items()],
            {'name': 'engine: pillars', 'whole': False, 'ms': [3.0]},
        ],
        'untuned': {'untuned': [60.0], 'tuned': [40.0]},
    }
    shipped = {
        'maps': [
            {
                'map': 'around',
                'shape': (512, 512),
                'rows': [
                    {'input': f'sweep {number}', 'contender': name, 'ms': [ms * number]}
                    for number in (1, 2)
                    for name, ms in (('ONNX Runtime float32', 60.0), ('engine float32', 20.0))
                ],
                'left_out': {'OpenVINO bfloat16': 'no BF16'},
                'memory': {'ONNX Runtime float32': 300.0},
            }
        ],
        'detection': [
            {'map': name, 'precision': precision, 'stage': stage, 'ms': [ms]}
            for name in ('ahead', 'around')
            for precision in ('float32', 'bfloat16')
            for stage, ms in STAGES.items()
        ],
    }
    engine = {
        'left_out': ['Peak memory of eager is left out: no memory'],
        'alone_input': 'sweep 1',
        'dense_multiplications': 10**8,
        'runs': [{'threads': 1, **run}, {'threads': 2, **run}],
        'memory': {'eager': 200.0},
        'backbones': [
            {
                'backbone': 'tiny',
                'parameters': 300_352,
                'multiplications': 28 * 10**9,
                'engine_ms': [70.0],
                'pytorch_ms': [600.0],
                'peak_mb': 150.0,
            }
        ],
        'fusion': [
            {'stage': 'camera encoder', 'ms': [40.0], 'peak_mb': 45.0},
            {'stage': 'projected', 'ms': [90.0], 'computed_mb': 71.0, 'peak_mb': 70.0},
        ],
        'scaling': {
            'occupancy': [
                {'fraction': 0.1, 'ms': sparsities},
                {'fraction': 0.5, 'ms': sparsities},
            ],
            'range': [
                {'metres': metres, 'sweep_pillars': 7000, 'ms': {**sparsities, 'sweep': [5.0]}}
                for metres in (50.0, 90.0)
            ],
        },
    }
    detectors = {
        'left_out': ['Peak memory of OpenVINO is left out: no memory'],
        'alone_input': 'sweep 1',
        'runs': [{'threads': 1, **shipped}, {'threads': 2, **shipped}],
    }
    parts = {'engine': engine, 'detectors': detectors, 'transport': transport()}
    return {'machine': {'cores': 2}, **parts}


def transport() -> dict[str, Any]:
    def array(name: str, hz: float, ms: list[float], **more: Any) -> dict[str, Any]:
        known = {'size': '10 MB', 'shape': [1, 64, 200, 200], 'reliable': True}
        ends = {'sent': 4, 'cpu_ms': [[2.0, 4.0], [5.0]], 'encoding': 'float32'}
        return {'name': name, 'hz': hz, 'ms': ms, **known, **ends, **more}

    stream = {'name': 'pipeline_node, float16', 'reliability': 'reliable'}
    return {
        'left_out': [],
        'latencies': {'pipeline_node': [150.0, 100.0, 200.0]},
        'streams': [{**stream, 'ms': [100.0, 120.0, 140.0], 'lost': 1}],
        'arrays': [
            array('kept array.array', 10.0, [50.0, 60.0]),
            array('tiny_bev_ros', 10.0, [11.0] * 4),
            array('tiny_bev_ros', 30.0, [33.0] * 4),
            array('kept array.array', 10.0, [], reliable=False),
            array('tiny_bev_ros', 10.0, [9.0], size='pillars', shape=[7000, 64]),
        ],
    }
