# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Times of stages by the clock of the device that computes them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import torch
from acted_machine import Machine

from tiny_bev_ros.inference.device_timer import timestamp_on
from tiny_bev_ros.runtime.stats import FrameTimes

CPU, CUDA = torch.device('cpu'), torch.device('cuda', 0)


def launch(count: int) -> torch.Tensor:
    x = torch.empty(2, device=CUDA)
    for _ in range(count):
        x.zero_()
    return x


def test_stages_on_cuda_are_timed_by_the_device_and_read_once(acted: Machine):
    times = FrameTimes(0)
    for stage, count in (('pillars', 3), ('backbone', 40), ('backbone', 5)):
        with times.stage(stage, partial(timestamp_on, CUDA)):
            launch(count)
    assert list(times.stages_ms) == ['wait']
    assert not acted.waits
    times.synchronize()
    del times.stages_ms['wait']
    # A launch of the acted device takes a microsecond.
    assert {name: round(ms * 1000) for name, ms in times.stages_ms.items()} == {
        'pillars': 3,
        'backbone': 45,
    }
    assert acted.waits == {'event': 1}
    times.synchronize()
    assert acted.waits == {'event': 1}


def test_nobody_waits_where_results_were_copied_anyway(acted: Machine):
    times = FrameTimes(0)
    with times.stage('heads', partial(timestamp_on, CUDA)):
        result = launch(7)
    result.cpu()
    times.synchronize()
    assert acted.waits == {'to host': 1}
    assert round(times.stages_ms['heads'] * 1000) == 7


@pytest.mark.parametrize('fails', [False, True])
def test_where_no_moment_ends_it_the_hosts_clock_counts(acted: Machine, fails: bool):
    now = [0]
    times = FrameTimes(0, lambda: now[0])
    devices = [CUDA, CPU]  # as after a fallback to the CPU
    with suppress(KeyError), times.stage('heads', lambda: timestamp_on(devices.pop(0))):
        now[0] += 3_000_000
        if fails:
            raise KeyError
    times.synchronize()
    assert times.stages_ms['heads'] == 3.0
    assert not acted.waits
