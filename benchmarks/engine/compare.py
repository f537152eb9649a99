# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Times and errors of the contenders on common pseudo-images."""

from __future__ import annotations

import math
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
    points: dict[str, np.ndarray],
    network: nn.Module,
    contenders: dict[str, Contender],
    rounds: int,
) -> list[dict[str, Any]]:
    """Measures each contender on each input.

    Args:
        points: clouds (N,4) float32 by label; uniform random maps are added.
        network: backbone in eval mode, the reference of errors.
        contenders: contenders by name.
        rounds: timed runs of each contender on each input.

    Returns:
        One row per input and contender: 'input', 'contender', 'ms' (a list), 'active_fraction'
        of the input's cells, 'work_fraction' of the dense multiplications, and `errors`.
    """
    rows = []
    for label, image in tqdm(pseudo_images(points), desc='inputs', disable=None):
        expected, active = network(image), active_fraction(image)
        times = interleaved(
            {name: partial(run, image) for name, run in contenders.items()}, rounds
        )
        for name, run in contenders.items():
            output = run(image)
            row = {'input': label, 'contender': name, 'ms': times[name], 'active_fraction': active}
            row['work_fraction'] = work_fraction(run, network, KITTI.shape)
            rows.append(row | errors(output, expected))
    return rows


def max_error(output: Tensor, expected: Tensor) -> float:
    """Computes the greatest error relative to the greatest magnitude; infinite by shape."""
    return errors(output, expected).get('max_error', math.inf)


def errors(output: Tensor, expected: Tensor) -> dict[str, float]:
    """Computes errors relative to the greatest magnitude and L2 norm; none if shapes differ."""
    if output.shape != expected.shape:
        return {}
    off, greatest = (output - expected).abs(), expected.abs().max()
    return {
        'max_error': float(off.max() / greatest),
        'mean_error': float(off.mean() / greatest),
        'l2_error': float(off.norm() / expected.norm()),
    }
