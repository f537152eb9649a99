# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Faults of input clouds: their data, fields, values and stamps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fault_mutations import mutated
from fault_registry import Outcome, case, describe_drops
from fault_rig import Rig, cloud, now
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.messages.point_cloud import encode_cloud

_MUTATIONS_PER_TRY = 500


def _send_faulty(
    rig: Rig,
    tries: int,
    make: Callable[[int], PointCloud2],
    may_answer: bool,
    parameters: dict[str, str] | None = None,
) -> Outcome:
    """Sends faulty or unusual clouds, each followed by good ones."""
    rig.start(parameters)
    before, outcome = rig.counts(), Outcome()
    for number in range(tries):
        rig.send(make(number), may_answer)
        rig.spin_for(0.05)
        outcome.count_try(rig)
    outcome.did = describe_drops(before, rig.counts(), tries)
    return outcome


@case('cloud whose data are cut short')
def short(rig: Rig, tries: int) -> Outcome:
    """Imitates a driver that reports a wrong size."""

    def make(number: int) -> PointCloud2:
        message = encode_cloud(cloud(number), now(), 'lidar')
        message.data = message.data[: -1 - number]
        return message

    return _send_faulty(rig, tries, make, may_answer=False)


@case('cloud with wrong fields')
def fields(rig: Rig, tries: int) -> Outcome:
    """Removes a field, changes its type, or moves it outside of the point."""

    def make(number: int) -> PointCloud2:
        message = encode_cloud(cloud(number), now(), 'lidar')
        if number % 3 == 0:
            message.fields = message.fields[1:]
        elif number % 3 == 1:
            message.fields[0].datatype = 99
        else:
            message.fields[2].offset = message.point_step
        return message

    return _send_faulty(rig, tries, make, may_answer=False)


@case('10 in 100 points NaN or infinite')
def not_finite(rig: Rig, tries: int) -> Outcome:
    """Imitates a sensor without returns."""

    def make(number: int) -> PointCloud2:
        points = cloud(number)
        points[::10, number % 4] = (np.nan, np.inf, -np.inf)[number % 3]
        return encode_cloud(points, now(), 'lidar')

    outcome = _send_faulty(rig, tries, make, may_answer=True)
    outcome.did += ', those points left out'
    return outcome


@case('empty cloud, cloud out of range, all points NaN')
def empty(rig: Rig, tries: int) -> Outcome:
    """Expects an output for clouds without any point on the grid."""

    def make(number: int) -> PointCloud2:
        points = (
            np.zeros((0, 4), np.float32),
            cloud(number) + 1000,
            np.full((50, 4), np.nan, np.float32),
        )[number % 3]
        return encode_cloud(points, now(), 'lidar')

    return _send_faulty(rig, tries, make, may_answer=True)


@case('cloud of 2 million points')
def huge(rig: Rig, tries: int) -> Outcome:
    """Sends clouds of sixteen times a KITTI sweep."""
    return _send_faulty(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number, 2_000_000), now(), 'lidar'),
        may_answer=True,
    )


@case('cloud larger than max_message_mb')
def too_large(rig: Rig, tries: int) -> Outcome:
    """Sends 2 MB where 1 MiB is allowed."""
    return _send_faulty(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number, 125_000), now(), 'lidar'),
        may_answer=False,
        parameters={'max_message_mb': '1'},
    )


@case('stamp 10 s old, or 10 s ahead')
def other_time(rig: Rig, tries: int) -> Outcome:
    """Sends stamps that max_age_ms of 1000 excludes, on either side."""

    def make(number: int) -> PointCloud2:
        seconds, nanoseconds = now()
        return encode_cloud(
            cloud(number), (seconds + (10 if number % 2 else -10), nanoseconds), 'lidar'
        )

    return _send_faulty(rig, tries, make, may_answer=False)


@case('stamps that go back 100 years, no max_age_ms')
def backwards(rig: Rig, tries: int) -> Outcome:
    """Imitates a bag that begins again; the outputs keep those stamps."""
    outcome = _send_faulty(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number), (number, 0), 'lidar'),
        may_answer=True,
        parameters={'max_age_ms': '0.0'},
    )
    time_jumps = {pair.key: pair.value for pair in rig.status().values}['time_jumps']
    outcome.did = f'{time_jumps} of {tries} reported, published under their own stamp'
    return outcome


@case('message with fields changed at random')
def mutations(rig: Rig, tries: int) -> Outcome:
    """Sends changed messages; some stay valid, and none may be an error of the node."""
    random = np.random.default_rng(0)
    tries *= _MUTATIONS_PER_TRY
    rig.start({'max_message_mb': '16'})
    before, outcome, processed = rig.counts(), Outcome(), 0
    good = encode_cloud(cloud(0, 50), (0, 0), 'lidar')
    while processed < tries:
        for _ in range(_MUTATIONS_PER_TRY):
            good.header.stamp.sec, good.header.stamp.nanosec = now()
            rig.send(mutated(good, random), may_answer=True)
            rig.spin_for(0.003)
            outcome.tries += 1
        outcome.wait_for_recovery(rig)
        after = rig.counts()
        # The others were replaced before the node took them.
        processed = outcome.tries - after['replaced'] + before['replaced']
        if after['failed'] != before['failed'] or rig.problems:
            rig.problems.append(f'the node failed on {after["failed"]} messages')
            break
    outcome.did = describe_drops(before, after, outcome.tries) + ', the others published'
    return outcome
