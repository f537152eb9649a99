# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Recorded quality of service of a topic's publishers."""

from __future__ import annotations

from dataclasses import dataclass

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosReliability

DEPTH = 10


@dataclass(frozen=True)
class RecordedQos:
    """Offered QoS of a recorded topic's publishers, joined into one.

    Attributes:
        reliable: False when all publishers were best effort; True without a record.
        transient_local: True when a publisher kept messages for late subscribers.
        depth: queue depth; at least 10, as many drivers record none or 1.
    """

    reliable: bool = True
    transient_local: bool = False
    depth: int = DEPTH


def joined(profiles: list[Qos]) -> RecordedQos:
    """Joins offers into one that suits every subscriber of the recorded publishers."""
    if not profiles:
        return RecordedQos()
    return RecordedQos(
        reliable=any(qos.reliability != QosReliability.BEST_EFFORT for qos in profiles),
        transient_local=any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in profiles),
        depth=max(DEPTH, *(_depth(qos) for qos in profiles)),
    )


def _depth(qos: Qos) -> int:
    # Recorders note an unknown history with any depth, up to 2**32 - 1.
    return qos.depth if qos.history == QosHistory.KEEP_LAST else DEPTH
