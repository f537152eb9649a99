# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Overload: with more input than a node can process, the age of its outputs stays bounded."""

from __future__ import annotations

import time

import numpy as np
from fault_registry import Outcome, case
from fault_rig import Rig, cloud, now

from tiny_bev_ros.client import BevSubscriber, BevTensor
from tiny_bev_ros.messages.point_cloud import encode_cloud

# Dense BEV features of this size take about 200 ms on one core of a desktop.
_SLOW = {
    'grid.x_range': '[0.0, 64.0]',
    'grid.y_range': '[-32.0, 32.0]',
    'grid.resolution': '0.25',
    'backbone.sparsity': 'never',
    'num_threads': '1',
    'max_age_ms': '0.0',
    'output_encoding': 'float16',
}
_SECONDS_PER_TRY = 0.5


def _overload(rig: Rig, hertz: float, seconds: float) -> Outcome:
    """Sends clouds at a rate to a slow node without max_age_ms."""
    ages: list[float] = []

    def note_age(bev: BevTensor) -> None:
        stamp = bev.labels.stamp or (0, 0)
        ages.append(time.time() - stamp[0] - stamp[1] / 1e9)

    rig.destroy_subscriber()
    subscriber = BevSubscriber(rig.node, 'bev_features', note_age)
    rig.spawn(_SLOW)
    message = encode_cloud(cloud(0), (0, 0), 'lidar')
    begin = time.monotonic()
    while not ages and time.monotonic() - begin < 60:
        message.header.stamp.sec, message.header.stamp.nanosec = now()
        rig.send(message)
        rig.spin_for(0.5)
    rig.spin_for(1.0)
    before = rig.counts()
    ages.clear()
    begin, sent = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        message.header.stamp.sec, message.header.stamp.nanosec = now()
        rig.send(message)
        sent += 1
        rig.spin_for(max(0.0, begin + sent / hertz - time.monotonic()))
    rig.spin_for(1.0)
    after = rig.counts()
    subscriber.destroy()
    difference = {key: after[key] - before[key] for key in after}
    outcome = Outcome(tries=sent)
    if not ages:
        rig.problems.append('no output')
        return outcome
    received = difference.pop('received')
    if received != sum(difference.values()):
        rig.problems.append(f'{received} received, but {difference}')
    thirds = [np.median(part) * 1e3 for part in np.array_split(np.array(ages), 3) if len(part)]
    outcome.lost = sent - len(ages)
    outcome.seconds = max(ages)
    outcome.did = (
        f'{len(ages) / seconds:.1f} Hz out, {difference["replaced"]} replaced; median age '
        f'{np.median(ages) * 1e3:.0f} ms on arrival, by thirds '
        f'{", ".join(f"{value:.0f}" for value in thirds)} ms, maximum {max(ages) * 1e3:.0f} ms'
    )
    return outcome


@case('10 Hz into a node that manages about 5')
def ten(rig: Rig, tries: int) -> Outcome:
    """Sends at twice the rate of the node."""
    return _overload(rig, 10, tries * _SECONDS_PER_TRY)


@case('20 Hz into the same')
def twenty(rig: Rig, tries: int) -> Outcome:
    """Sends at four times the rate of the node."""
    return _overload(rig, 20, tries * _SECONDS_PER_TRY)


@case('50 Hz into the same')
def fifty(rig: Rig, tries: int) -> Outcome:
    """Sends at ten times the rate of the node."""
    return _overload(rig, 50, tries * _SECONDS_PER_TRY)
