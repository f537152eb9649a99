# SPDX-License-Identifier: Apache-2.0
"""Reproducible random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context manager: models built inside get the weights of a seed.

    Random numbers outside do not change. Models are built on the CPU, so that their weights do not
    depend on the device; CUDA's generators are left alone.

    Args:
        seed: seed of PyTorch's CPU generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
