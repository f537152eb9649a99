# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Launches of Triton's kernels, in one place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def launch(
    kernel: Any, grid: tuple[int, ...], first: Tensor, /, *others: Any, **options: Any
) -> None:
    """Launches a kernel on the device of its first argument, without waiting for it.

    Args:
        kernel: function under `triton.jit`.
        grid: number of programs along each axis.
        first: first argument of the kernel.
        others: other arguments of the kernel.
        options: constants of the kernel by name, and options of the compiler.
    """
    with torch.cuda.device(first.device):
        kernel[grid](first, *others, **options)
