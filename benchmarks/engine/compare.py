# SPDX-License-Identifier: Apache-2.0
"""Contenders on the same pseudo-images: times and errors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.engine.benchmark_inputs import KITTI, active_fraction, pseudo_images
from benchmarks.engine.contenders import work_fraction
from benchmarks.engine.peers import Contender
from benchmarks.timing import interleaved


def compare(
    points: dict[str, np.ndarray], network: nn.Module, found: dict[str, Contender], rounds: int
) -> list[dict[str, Any]]:
    """A row per input and contender.

    Args:
        points: clouds (N,4) float32 by label; uniformly random maps are added.
        network: the backbone, in eval mode; errors are against its result.
        found: contenders by name.
        rounds: runs of each on each input.

    Returns:
        Rows with 'input', 'contender', 'ms' (a list), 'active_fraction' of the input's cells,
        'work_fraction' of the dense network's multiplications, and `errors`.
    """
    rows = []
    for label, image in tqdm(pseudo_images(points), desc='inputs', disable=None):
        wanted, share = network(image), active_fraction(image)
        times = interleaved({name: partial(run, image) for name, run in found.items()}, rounds)
        for name, run in found.items():
            got = run(image)
            row = {'input': label, 'contender': name, 'ms': times[name], 'active_fraction': share}
            row['work_fraction'] = work_fraction(run, network, KITTI.shape)
            rows.append(row | errors(got, wanted))
    return rows


def errors(got: Tensor, wanted: Tensor) -> dict[str, float]:
    """Relative to the greatest magnitude, and in the L2 norm; none for another shape."""
    if got.shape != wanted.shape:
        return {}
    off, greatest = (got - wanted).abs(), wanted.abs().max()
    return {
        'max_error': float(off.max() / greatest),
        'mean_error': float(off.mean() / greatest),
        'l2_error': float(off.norm() / wanted.norm()),
    }
