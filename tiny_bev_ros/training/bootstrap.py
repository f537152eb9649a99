# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bootstrap intervals over frames.

Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979: percentiles
of a value over resamples, each of as many frames as there are, drawn with replacement. Objects
of a frame are not independent of each other, therefore frames are drawn.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
# Probability that an interval is meant to hold the value over all frames of such a kind.
CONFIDENCE = 0.95


def draw_frames(frames: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draws resamples of frames.

    Args:
        frames: number of frames; one frame gives no interval.
        resamples: number of resamples.
        seed: seed of the draws; equal seeds give equal draws.

    Returns:
        (resamples, frames) int64, number of times each frame is drawn; (0, frames) for a single
        frame.
    """
    resamples = resamples if frames > 1 else 0
    random = np.random.default_rng(seed)
    return random.multinomial(frames, np.full(frames, 1 / frames), size=resamples)


def interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Returns the interval of a value from its values (R,) over resamples.

    Resamples without a value, NaN, are left out; None where no resample has one.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
