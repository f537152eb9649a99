# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters of the networks in a weight file of `train`, by its metadata."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from tiny_bev_ros.models import list_heads
from tiny_bev_ros.models.bev_detector import build_detector
from tiny_bev_ros.models.checkpoint.metadata import read_metadata
from tiny_bev_ros.resources import CHECKPOINTS


def trained_defaults(path: str | Path) -> dict[str, Any]:
    """Returns the values that a parameter file for these weights holds, by name.

    The grid has the extent of that of a Detector. Paths are absolute, for processes that run in
    other folders.

    Raises:
        TinyBevError: the file cannot be read, or has no metadata.
    """
    path = Path(path).expanduser().absolute()
    metadata = read_metadata(path)
    signature = inspect.signature(build_detector).parameters.values()
    network = {each.name: each.default for each in signature} | metadata.network
    x_range, y_range = metadata.default_ranges
    return {
        'grid.x_range': list(x_range),
        'grid.y_range': list(y_range),
        'grid.z_range': list(metadata.z_range),
        'grid.resolution': metadata.cell,
        'pfn.in_channels': 10,
        'pfn.out_channels': network['pfn_channels'],
        'pfn.max_points': 0,
        'pfn.legacy_offsets': False,
        'backbone.name': network['backbone'],
        'backbone.in_channels': network['pfn_channels'],
        'backbone.mid_channels': network['mid_channels'],
        'backbone.out_channels': network['out_channels'],
        'heads.names': [name for name in list_heads() if name in network['heads']],
        **dict.fromkeys(CHECKPOINTS, str(path)),
    }
