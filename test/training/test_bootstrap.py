# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bootstrap over frames, against cases that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.bootstrap import draw_frames, interval


def ranking_of(*frames):
    """A Ranking of frames: scores and hits of detections, and number of objects."""
    ranking = Ranking()
    for scores, hits, objects in frames:
        iou = np.zeros((len(scores), objects))
        for column, row in enumerate(np.nonzero(hits)[0]):
            iou[row, column] = 1
        required, dont_care = np.ones(objects, bool), np.zeros(len(scores), bool)
        ranking.add(np.array(scores, float), iou, required, 0.5, dont_care)
    return ranking


FRAMES = [
    ([0.9, 0.4], [1, 0], 2),
    ([0.8, 0.7, 0.3], [0, 1, 1], 2),
    ([], [], 1),
    ([0.6, 0.5], [1, 1], 3),
    ([0.2], [0], 0),
]


def test_a_resample_is_the_precision_of_the_drawn_frames():
    ranking = ranking_of(*FRAMES)
    counts = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 2, 0], [0, 3, 0, 0, 2], [1, 0, 4, 0, 0]])
    expected = [
        ranking_of(*(FRAMES[frame] for frame, n in enumerate(row) for _ in range(n)))
        for row in counts
    ]
    values = ranking.resampled_precision(counts)
    assert values == pytest.approx([each.average_precision() for each in expected])
    assert values[0] == pytest.approx(ranking.average_precision())
    assert len({*values.round(6)}) == 4


def test_a_resample_without_objects_has_no_precision():
    values = ranking_of(*FRAMES).resampled_precision(np.array([[0, 0, 0, 0, 5], [1, 0, 0, 0, 4]]))
    assert np.isnan(values).tolist() == [True, False]
    assert np.isnan(Ranking().resampled_precision(np.zeros((2, 0), int))).all()


def test_pooled_frames_follow_each_other():
    pooled = Ranking.pooled([ranking_of(*FRAMES[:2]), ranking_of(*FRAMES[2:])])
    whole, counts = ranking_of(*FRAMES), np.array([[0, 2, 1, 1, 1]])
    assert pooled.positives == whole.positives == 8
    assert pooled.average_precision() == whole.average_precision()
    assert pooled.resampled_precision(counts) == pytest.approx(whole.resampled_precision(counts))


def test_each_resample_has_as_many_frames_as_there_are():
    counts = draw_frames(7)
    assert counts.shape == (1000, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean() == pytest.approx(1)
    assert counts.std() == pytest.approx((6 / 7) ** 0.5, abs=0.03)
    assert (counts == draw_frames(7)).all()


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = interval(draw_frames(400) @ values / 400)
    middle, error = values.mean(), values.std() / 400**0.5
    assert low == pytest.approx(middle - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(middle + 1.96 * error, abs=0.15 * error)


def test_one_frame_and_unknown_figures_have_no_interval():
    assert draw_frames(1).shape == (0, 1)
    assert interval(np.empty(0)) is None
    assert interval(np.array([np.nan, np.nan])) is None
    assert interval(np.array([np.nan, 2.0, 2.0])) == (2.0, 2.0)
