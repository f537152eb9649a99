# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from tiny_bev_ros.tools.allocator import allocator_environment

_FAULTS = """
import resource, torch
layer = torch.nn.Conv2d(16, 48, 1).eval()
x = torch.zeros(1, 16, 496, 432)
with torch.inference_mode():
    for _ in range(3):
        layer(x).relu()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        layer(x).relu()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 5 * 48 * 496 * 432 * 4 // resource.getpagesize()


def faults(more: dict[str, str]) -> int:
    bare = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    ran = subprocess.run(
        [sys.executable, '-c', _FAULTS],
        env=bare | more,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout)


def test_large_activations_no_longer_fault(monkeypatch: pytest.MonkeyPatch):
    for name in ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'):
        monkeypatch.delenv(name, raising=False)
    assert faults(allocator_environment()) < _PAGES // 10
    if faults({}) < _PAGES // 10:
        pytest.skip('another allocator than glibc, or huge pages')


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv('MALLOC_MMAP_THRESHOLD_', '1')
    assert 'MALLOC_MMAP_THRESHOLD_' not in allocator_environment()
