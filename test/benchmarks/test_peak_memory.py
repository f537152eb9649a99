# SPDX-License-Identifier: Apache-2.0
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
