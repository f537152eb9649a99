# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Values of the drivable area, as they are published and stored; needs no message packages."""

from __future__ import annotations

import numpy as np

_UNKNOWN = -1


def occupancy_values(drivable: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Returns (h,w) int8 values: 0 for road surface to 100 for anything else, -1 for unknown.

    Args:
        drivable: (h,w) float32 probability of road surface.
        known: (h,w) bool, False for unobserved cells; None if all count as observed.
    """
    values = np.rint((1 - drivable) * 100).astype(np.int8)
    if known is not None:
        values[~known] = _UNKNOWN
    return values
