# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from tiny_bev_ros.runtime.process import configure_malloc, trim_malloc

_FAULTS = """
import resource, torch
from tiny_bev_ros.runtime.process import configure_malloc
{keep}
layer = torch.nn.Conv2d(16, 48, 1).eval()
x = torch.zeros(1, 16, 496, 432)
with torch.inference_mode():
    for _ in range(20):  # with one thread the heap takes some rounds to find its size
        layer(x).relu()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        layer(x).relu()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 5 * 48 * 496 * 432 * 4 // resource.getpagesize()


def printed(code: str, keep: bool = True) -> str:
    """Returns the output of code in a process with the default malloc, or with a tuned one."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    ran = subprocess.run(
        [
            sys.executable,
            '-c',
            code.replace('{keep}', 'assert configure_malloc()' if keep else ''),
        ],
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def faults(keep: bool) -> int:
    return int(printed(_FAULTS, keep).split()[-1])


@pytest.mark.skipif(sys.platform != 'linux', reason='needs glibc')
def test_large_activations_no_longer_fault():
    assert faults(keep=True) < _PAGES // 10
    if faults(keep=False) < _PAGES // 10:
        pytest.skip('another allocator than glibc, or huge pages')


@pytest.mark.parametrize(
    ('name', 'value'),
    [('MALLOC_MMAP_THRESHOLD_', '1'), ('GLIBC_TUNABLES', 'glibc.malloc.trim_threshold=1')],
)
def test_user_settings_take_precedence(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    assert not configure_malloc()


_TRIM = """
from pathlib import Path
from tiny_bev_ros.runtime.process import trim_malloc, configure_malloc
{keep}
pages = lambda: int(Path('/proc/self/statm').read_text().split()[1])
blocks = [bytearray(b'x' * 2**20) for _ in range(200)]
full = pages()
blocks.clear()
kept = pages()
trim_malloc()
print(full, kept, pages())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='needs glibc')
def test_kept_memory_can_be_trimmed():
    full, kept, trimmed = (int(word) for word in printed(_TRIM).split())
    if kept < full * 0.9:
        pytest.skip('another allocator than glibc')
    assert trimmed < full / 2


def test_trimming_without_kept_memory_does_nothing():
    trim_malloc()


_ARENAS = """
import ctypes, threading
from tiny_bev_ros.runtime.process import configure_malloc
{keep}
libc = ctypes.CDLL(None)
both = threading.Barrier(4)
def work():
    libc.malloc(5000)
    both.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, 'stdout'))
libc.fflush(None)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='needs glibc')
@pytest.mark.parametrize('keep', [True, False])
def test_threads_share_freed_memory(keep: bool):
    arenas = printed(_ARENAS, keep).count('<heap nr=')
    if not keep and arenas < 2:
        pytest.skip('another allocator than glibc')
    assert (arenas == 1) == keep
