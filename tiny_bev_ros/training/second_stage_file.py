# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Weight files of networks and a second stage."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple, cast

from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.checkpoint.metadata import (
    CheckpointMetadata,
    load_weights,
    save_weights,
)
from tiny_bev_ros.models.heads.head_registry import map_heads
from tiny_bev_ros.models.heads.refinement import REFINEMENT, RefinementHead


class SecondStage(NamedTuple):
    """Second stage of a weight file.

    Attributes:
        head: the second stage.
        origin: configuration, commit, command and base weights of its training.
    """

    head: RefinementHead
    origin: dict[str, Any]


def load_second_stage(path: Path) -> SecondStage | None:
    """Loads the second stage of a weight file; None where it has none.

    Raises:
        TinyBevError: the file cannot be read, see `load_weights`.
    """
    network, metadata = load_weights(path)
    if REFINEMENT not in network.heads:
        return None
    head = cast(RefinementHead, network.heads[REFINEMENT])
    return SecondStage(head, metadata.origin.get('second_stage', {}))


def add_second_stage(
    path: Path,
    network: BevDetector,
    metadata: CheckpointMetadata,
    head: RefinementHead,
    origin: dict[str, Any],
) -> None:
    """Writes networks and a second stage to a file.

    Args:
        path: file that is written.
        network: trained networks; a second stage among them is replaced.
        metadata: description of these networks.
        head: the second stage.
        origin: configuration, commit, command and base weights of its training.
    """
    heads = [*map_heads(network.heads), REFINEMENT]
    joined = build_detector(**{**metadata.network, 'heads': tuple(heads)})
    joined.pfn, joined.backbone = network.pfn, network.backbone
    for name, each in {**map_heads(network.heads), REFINEMENT: head}.items():
        joined.heads[name] = each
    described = dataclasses.replace(
        metadata,
        network={**metadata.network, 'heads': heads},
        origin={**metadata.origin, 'second_stage': origin},
    )
    save_weights(path, joined, described)
