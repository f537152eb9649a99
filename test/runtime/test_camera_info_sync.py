# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_bev_ros.runtime.camera_info_sync import CameraInfoSync

LARGE, SMALL = (120, 40), (60, 20)


class Rig:
    """Records matched pairs and rejected images; an image is its number, an info a name."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, str]] = []
        self.rejected: list[tuple[int, str]] = []
        self.sync: CameraInfoSync[int, str] = CameraInfoSync(
            lambda image, info: self.pairs.append((image, info)),
            lambda image, reason: self.rejected.append((image, reason)),
        )
        self.images = 0

    def image(self, stamp: int, size=LARGE) -> None:
        self.sync.add_image(stamp, size, self.images)
        self.images += 1

    def info(self, stamp: int, size=LARGE, name: str = '') -> None:
        self.sync.add_camera_info(stamp, size, name or f'{size[0]} at {stamp}')


@pytest.mark.parametrize('first', ['image', 'info'])
def test_sizes_that_alternate_in_either_order(first):
    rig = Rig()
    for stamp in range(10):
        size = (LARGE, SMALL)[stamp % 2]
        if first == 'image':
            rig.image(stamp, size)
        rig.info(stamp, size)
        if first == 'info':
            rig.image(stamp, size)
    assert rig.pairs == [(stamp, f'{(120, 60)[stamp % 2]} at {stamp}') for stamp in range(10)]
    assert not rig.rejected


def test_the_info_of_the_same_stamp_is_preferred():
    rig = Rig()
    rig.info(1)
    rig.image(1)
    rig.image(2)
    assert rig.pairs == [(0, '120 at 1')]  # image 1 waits
    rig.info(2)
    rig.info(4)
    rig.info(3)
    rig.image(3)
    rig.image(4)
    assert rig.pairs[1:] == [(1, '120 at 2'), (2, '120 at 3'), (3, '120 at 4')]


def test_infos_of_other_stamps_or_a_latched_one_match_at_once():
    rig = Rig()
    rig.info(0, name='latched')
    for stamp in (100, 200):
        rig.image(stamp)
    rig.info(150, SMALL, 'small')
    rig.image(300)
    rig.info(310, LARGE, 'newer')
    rig.image(400)
    rig.image(500, SMALL)
    assert rig.pairs == [
        (0, 'latched'),
        (1, 'latched'),
        (2, 'latched'),
        (3, 'newer'),
        (4, 'small'),
    ]
    assert not rig.rejected


def test_without_stamps_the_newest_info_of_the_size_matches():
    rig = Rig()
    for name in ('a', 'b'):
        rig.info(0, LARGE, name)
    rig.info(0, SMALL, 'c')
    rig.image(0)
    assert rig.pairs == [(0, 'b')]


def test_an_image_waits_for_the_first_info():
    rig = Rig()
    rig.image(5)
    assert (rig.pairs, rig.rejected) == ([], [])
    rig.info(0, SMALL)
    assert not rig.pairs
    rig.info(0)
    assert rig.pairs == [(0, '120 at 0')]


def test_a_lost_info_delays_the_image_only():
    rig = Rig()
    for stamp in (1, 2):
        rig.image(stamp)
        rig.info(stamp)
    rig.image(3)
    rig.info(4)
    assert rig.pairs[2:] == [(2, '120 at 4')]
    rig.image(4)
    # Without further infos only one image waits.
    for stamp in (5, 6, 7):
        rig.image(stamp)
    assert rig.pairs[3:] == [(3, '120 at 4')] + [(number, '120 at 4') for number in (4, 5, 6)]


def test_an_image_without_match_is_rejected():
    rig = Rig()
    rig.image(1)
    rig.image(2)
    assert rig.rejected == [
        (0, 'no camera_info was received yet; expected one with the stamp or size of the image')
    ]
    rig.info(2, SMALL)
    assert rig.rejected[1:] == [
        (1, 'image size is 120 x 40 pixels; expected 60 x 20, the size in camera_info')
    ]
    rig.info(3)
    rig.image(4, (7, 7))
    rig.image(5)
    assert rig.rejected[2:] == [
        (2, 'image size is 7 x 7 pixels; expected 120 x 40 or 60 x 20, the size in camera_info')
    ]
    assert rig.sync.stop() == 1 - len(rig.pairs)


sizes = st.sampled_from([LARGE, SMALL, (7, 7)])
events = st.lists(st.tuples(st.booleans(), st.integers(0, 6), sizes), max_size=40)


@settings(deadline=None, derandomize=True, max_examples=300, database=None)
@given(events=events)
def test_every_image_is_reported_once_in_any_sequence(events):
    rig = Rig()
    for is_image, stamp, size in events:
        (rig.image if is_image else rig.info)(stamp, size)
    waiting = rig.sync.stop()
    reported = [number for number, _ in rig.pairs + rig.rejected]
    assert sorted(reported) == list(range(rig.images - waiting))
    assert waiting <= 1
