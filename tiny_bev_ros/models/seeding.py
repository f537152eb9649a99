# SPDX-License-Identifier: Apache-2.0
"""Random weights that are the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Models built inside get the weights of ``seed``; random numbers outside do not change.

    Models are built on the CPU, so that the weights do not depend on the device on which
    they will run; CUDA's generators are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
