# SPDX-License-Identifier: Apache-2.0
"""Times of stages by the clock of the device that computes them."""

from __future__ import annotations

from functools import partial

import torch
from acted_tensor import Machine

from tiny_bev_ros.engine.moment import Moment
from tiny_bev_ros.transport.frame_times import FrameTimes

CPU, CUDA = torch.device('cpu'), torch.device('cuda', 0)


def launch(count: int) -> torch.Tensor:
    x = torch.empty(2, device=CUDA)
    for _ in range(count):
        x.zero_()
    return x


def test_stages_on_cuda_are_timed_by_the_device_and_read_once(acted: Machine):
    times = FrameTimes(0)
    for stage, count in (('pillars', 3), ('backbone', 40), ('backbone', 5)):
        with times.device_stage(stage, partial(Moment, CUDA)):
            launch(count)
    assert list(times.stages_ms) == ['wait']
    assert not acted.waits
    times.settle()
    del times.stages_ms['wait']
    # A launch of the acted device takes a microsecond.
    assert {name: round(ms * 1000) for name, ms in times.stages_ms.items()} == {
        'pillars': 3,
        'backbone': 45,
    }
    assert acted.waits == {'event': 1}
    times.settle()
    assert acted.waits == {'event': 1}


def test_nobody_waits_where_results_were_copied_anyway(acted: Machine):
    times = FrameTimes(0)
    with times.device_stage('heads', partial(Moment, CUDA)):
        result = launch(7)
    result.cpu()
    times.settle()
    assert acted.waits == {'to host': 1}
    assert round(times.stages_ms['heads'] * 1000) == 7


def test_a_stage_that_fails_has_no_time(acted: Machine):
    times = FrameTimes(0)
    try:
        with times.device_stage('heads', partial(Moment, CUDA)):
            raise KeyError
    except KeyError:
        times.settle()
    assert list(times.stages_ms) == ['wait']


def test_where_work_goes_over_to_the_cpu_the_hosts_clock_counts(acted: Machine):
    begin = Moment(CUDA)
    launch(3)
    end = Moment(CPU)
    end.wait()
    assert begin.ms_until(end) == (end._seconds - begin._seconds) * 1e3
    assert not acted.waits
