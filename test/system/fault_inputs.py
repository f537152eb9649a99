# SPDX-License-Identifier: Apache-2.0
"""Faults in the clouds themselves, and in their stamps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fault_mutations import mutated
from fault_registry import Outcome, case, difference
from fault_rig import Rig, cloud, now
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.messages.point_cloud import encode_cloud

_MUTATIONS_A_TRY = 500


def _inputs(
    rig: Rig,
    tries: int,
    make: Callable[[int], PointCloud2],
    may_answer: bool,
    parameters: dict[str, str] | None = None,
) -> Outcome:
    """Sends clouds that are wrong or odd, each followed by good ones."""
    rig.start(parameters)
    before, outcome = rig.counts(), Outcome()
    for number in range(tries):
        rig.send(make(number), may_answer)
        rig.spin_for(0.05)
        outcome.tried(rig)
    outcome.did = difference(before, rig.counts(), tries)
    return outcome


@case('cloud whose data are cut short')
def short(rig: Rig, tries: int) -> Outcome:
    """As from a driver that lies about its size."""

    def make(number: int) -> PointCloud2:
        message = encode_cloud(cloud(number), now(), 'lidar')
        message.data = message.data[: -1 - number]
        return message

    return _inputs(rig, tries, make, may_answer=False)


@case('cloud with wrong fields')
def fields(rig: Rig, tries: int) -> Outcome:
    """One that is missing, of another type, or outside of the point."""

    def make(number: int) -> PointCloud2:
        message = encode_cloud(cloud(number), now(), 'lidar')
        if number % 3 == 0:
            message.fields = message.fields[1:]
        elif number % 3 == 1:
            message.fields[0].datatype = 99
        else:
            message.fields[2].offset = message.point_step
        return message

    return _inputs(rig, tries, make, may_answer=False)


@case('10 in 100 points NaN or infinite')
def not_finite(rig: Rig, tries: int) -> Outcome:
    """As from a sensor without returns."""

    def make(number: int) -> PointCloud2:
        points = cloud(number)
        points[::10, number % 4] = (np.nan, np.inf, -np.inf)[number % 3]
        return encode_cloud(points, now(), 'lidar')

    outcome = _inputs(rig, tries, make, may_answer=True)
    outcome.did += ', those points left out'
    return outcome


@case('empty cloud, cloud out of range, all points NaN')
def empty(rig: Rig, tries: int) -> Outcome:
    """Nothing to see is something to tell."""

    def make(number: int) -> PointCloud2:
        points = (
            np.zeros((0, 4), np.float32),
            cloud(number) + 1000,
            np.full((50, 4), np.nan, np.float32),
        )[number % 3]
        return encode_cloud(points, now(), 'lidar')

    return _inputs(rig, tries, make, may_answer=True)


@case('cloud of 2 million points')
def huge(rig: Rig, tries: int) -> Outcome:
    """Sixteen times a KITTI sweep."""
    return _inputs(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number, 2_000_000), now(), 'lidar'),
        may_answer=True,
    )


@case('cloud larger than max_message_mb')
def too_large(rig: Rig, tries: int) -> Outcome:
    """2 MB where 1 MiB is allowed."""
    return _inputs(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number, 125_000), now(), 'lidar'),
        may_answer=False,
        parameters={'max_message_mb': '1'},
    )


@case('stamp 10 s old, or 10 s ahead')
def other_time(rig: Rig, tries: int) -> Outcome:
    """With max_age_ms 1000."""

    def make(number: int) -> PointCloud2:
        seconds, nanoseconds = now()
        return encode_cloud(
            cloud(number), (seconds + (10 if number % 2 else -10), nanoseconds), 'lidar'
        )

    return _inputs(rig, tries, make, may_answer=False)


@case('stamps that go back 100 years, no max_age_ms')
def backwards(rig: Rig, tries: int) -> Outcome:
    """As when a bag begins again; the outputs keep those stamps."""
    outcome = _inputs(
        rig,
        tries,
        lambda number: encode_cloud(cloud(number), (number, 0), 'lidar'),
        may_answer=True,
        parameters={'max_age_ms': '0.0'},
    )
    told = {pair.key: pair.value for pair in rig.status().values}['time_jumps']
    outcome.did = f'{told} of {tries} told, published under their own stamp'
    return outcome


@case('message with fields changed at random')
def mutations(rig: Rig, tries: int) -> Outcome:
    """Some remain right; in no case may it be an error of the node."""
    random = np.random.default_rng(0)
    tries *= _MUTATIONS_A_TRY
    rig.start({'max_message_mb': '16'})
    before, outcome, looked_at = rig.counts(), Outcome(), 0
    good = encode_cloud(cloud(0, 50), (0, 0), 'lidar')
    while looked_at < tries:
        for _ in range(_MUTATIONS_A_TRY):
            good.header.stamp.sec, good.header.stamp.nanosec = now()
            rig.send(mutated(good, random), may_answer=True)
            rig.spin_for(0.003)
            outcome.tries += 1
        outcome.recovered(rig)
        after = rig.counts()
        # The others were replaced before anybody looked at them.
        looked_at = outcome.tries - after['replaced'] + before['replaced']
        if after['failed'] != before['failed'] or rig.problems:
            rig.problems.append(f'the node failed over {after["failed"]} messages')
            break
    outcome.did = difference(before, after, outcome.tries) + ', the others published'
    return outcome
