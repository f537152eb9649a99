# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from functools import partial

import torch

from benchmarks.peak_memory import memory_mb, peak_mb


def filling(megabytes):
    """Returns a function that allocates and frees a number of megabytes."""
    return partial(torch.ones, int(megabytes * 250_000))


def test_the_peak_is_the_memory_of_the_call():
    baseline = peak_mb(filling, 0.001, threads=1)
    assert 190 < peak_mb(filling, 200, threads=1) - baseline < 210


def test_the_peak_is_no_less_than_the_resident_memory():
    resident = memory_mb('VmRSS')  # first, as it may grow in between
    assert memory_mb('VmHWM') >= resident > 0
