# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Instructions of the CPU, by the flags of Linux."""

from __future__ import annotations

import re
from pathlib import Path

# Dot products of int8 with sums of 32 bits, on x86-64 and arm64.
_INT8_FLAGS = ('avx512_vnni', 'avx_vnni', 'amx_int8', 'asimddp', 'i8mm')


def cpu_flags() -> frozenset[str]:
    """Returns the names of all instruction sets of the CPU; none where they are unknown."""
    return frozenset((read_cpuinfo('flags') or read_cpuinfo('Features')).split())


def read_cpuinfo(key: str) -> str:
    """Returns the first value of a key of /proc/cpuinfo; '' where it is unknown."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return ''
    match = re.search(rf'^{key}\s*: (.+)', text, re.MULTILINE)
    return match[1] if match else ''


def lacks_int8_products() -> bool:
    """Returns True if the CPU is known to have no instructions for products of int8."""
    flags = cpu_flags()
    return bool(flags) and flags.isdisjoint(_INT8_FLAGS)
