# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tiny_bev_ros.tools import bench
from tiny_bev_ros.tools.bench_contenders import PointPillarsBackbone


def test_contenders_take_turns_and_the_first_round_does_not_count():
    order: list[str] = []
    times = bench.interleaved({name: lambda name=name: order.append(name) for name in 'abc'}, 2)
    assert order == list('abc' * 3)
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys('abc', 2)


def test_the_backbone_of_pointpillars_is_the_published_one():
    backbone = PointPillarsBackbone().eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 64, 16, 24)).shape == (1, 384, 8, 12)
    convolutions = [m for m in backbone.stages.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [64] * 4 + [128] * 6 + [256] * 6
    assert sum(conv.stride == (2, 2) for conv in convolutions) == 3


def test_without_real_sweeps_a_street_is_simulated(tmp_path: Path):
    found = bench.clouds(tmp_path)
    assert len(found) == 5
    assert all(
        label.startswith('simulated') and len(points) > 1e4 for label, points in found.items()
    )


def result() -> dict:
    def row(contender: str, ms: float, **more: float) -> dict:
        return {'input': 'sweep 1', 'contender': contender, 'ms': [ms, 2 * ms, ms], **more}

    ways = {'always': [1.0], 'auto': [1.0], 'never': [9.0]}
    return {
        'machine': {'cores': 2},
        'rows': [
            row('eager', 40.0, max_error=0.0, mean_error=0.0),
            row('engine float32', 10.0, max_error=3e-7, mean_error=1e-8),
            row('PointPillars backbone', 80.0),
        ],
        'end_to_end': [{'stage': 'whole', 'ms': [12.0]}],
        'growth': {
            'occupancy': [{'share': 0.1, 'ms': ways}, {'share': 0.5, 'ms': ways}],
            'range': [{'metres': 50.0, 'ms': ways}, {'metres': 90.0, 'ms': ways}],
        },
    }


def test_tables():
    text = bench.markdown(result())
    engine = next(line for line in text.splitlines() if line.startswith('| engine float32'))
    assert '| 10.0 | 10.0..20.0 | 4.00, 4.00, 4.00 | 3.0e-07 | 1.0e-08 |' in engine
    assert (
        '| PointPillars backbone | 80.0 | 80.0..160.0 | 0.50, 0.50, 0.50 | another network' in text
    )
    assert '| 0.1 | 1.0 | 1.0 | 9.0 |' in text


def test_picture(tmp_path: Path):
    bench.plot(result(), tmp_path / 'bench.png')
    assert (tmp_path / 'bench.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('values', [[3.0, 1.0, 2.0]])
def test_median(values: list[float]):
    assert bench.median(values) == 2.0
