# SPDX-License-Identifier: Apache-2.0
from functools import partial

import torch

from benchmarks.peak_memory import memory_mb, peak_mb


def filling(megabytes):
    """What takes so much, and lets go of it."""
    return partial(torch.ones, int(megabytes * 250_000))


def test_the_peak_is_what_the_work_took():
    least = peak_mb(filling, 0.001, threads=1)
    assert 190 < peak_mb(filling, 200, threads=1) - least < 210


def test_the_peak_is_no_less_than_what_is_resident():
    assert memory_mb('VmHWM') >= memory_mb('VmRSS') > 0
