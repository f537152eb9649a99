# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from log_recorder import Recorder

from tiny_bev_ros.runtime.camera_stats import CAMERA_CAUSES, CameraStats


def test_what_it_tells():
    log = Recorder()
    tally = CameraStats('front', log, lambda: 0)
    assert set(tally.dropped) == set(CAMERA_CAUSES)
    for _ in range(4):
        tally.receive()
    tally.publish()
    tally.drop('late')
    tally.reject('front/camera_features', ValueError('no k'))
    for _ in range(3):
        tally.go_without('nothing came')
    assert tally.pending == 1
    assert str(tally) == (
        'received 4, used 1, dropped 2 (1 rejected, 1 late); missing in 3 frames'
    )
    assert log.lines == [
        'front/camera_features rejected (1 so far): no k',
        'without front (1 so far): nothing came',
    ]
