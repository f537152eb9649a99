# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Description of this machine: CPU, its instructions, and versions of the packages compared."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from tiny_bev_ros.inference.cpu_flags import cpu_flags, read_cpuinfo

# Flags of Linux for the instructions that the contenders choose by, on x86-64 and arm64.
_INSTRUCTIONS = (
    *('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16'),
    *('amx_int8', 'amx_bf16', 'amx_fp16'),
    *('asimd', 'asimdhp', 'asimddp', 'sve', 'bf16', 'i8mm', 'sme'),
)
_PACKAGES = {
    'PyTorch': 'torch',
    'numba': 'numba',
    'ONNX Runtime': 'onnxruntime',
    'OpenVINO': 'openvino',
}


def machine() -> dict[str, str]:
    """Returns values by name for the heading of the report."""
    return {
        'processor': processor(),
        'cores': str(os.cpu_count()),
        'instructions': ' '.join(instructions()) or 'unknown',
        'Python': platform.python_version(),
        **{name: package_version(package) for name, package in _PACKAGES.items()},
    }


def processor() -> str:
    """Returns the name of the CPU, as reported by Linux."""
    return read_cpuinfo('model name') or platform.machine()


def instructions() -> list[str]:
    """Returns the vector and matrix instructions of the CPU, by Linux's names."""
    flags = cpu_flags()
    return [name for name in _INSTRUCTIONS if name in flags]


def package_version(name: str) -> str:
    """Returns the version of an installed package, or that it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return 'not installed'
