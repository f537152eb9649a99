# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Average precision against cases that were worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tiny_bev_ros.training.average_precision import Ranking


def ranked(*frames):
    """A Ranking of frames: (scores, IoU matrix, required objects, detections of no interest)."""
    ranking, outcomes = Ranking(), []
    for scores, iou, counts, *dont_care in frames:
        outcome = ranking.add(
            np.array(scores, float),
            np.array(iou, float).reshape(len(scores), len(counts)),
            np.array(counts, bool),
            0.5,
            np.array(dont_care[0] if dont_care else [False] * len(scores), bool),
        )
        outcomes.append(outcome.tolist())
    return ranking, outcomes


def test_all_found_and_nothing_else():
    ranking, outcomes = ranked(([0.9, 0.8], [[0.7, 0], [0, 0.6]], [1, 1]))
    assert outcomes == [[1, 1]]
    assert ranking.average_precision() == 1.0


def test_half_found():
    # Recall stops at 1/2: twenty of the forty recalls have precision 1, the others 0.
    ranking, _ = ranked(([0.9], [[0.7, 0]], [1, 1]))
    assert ranking.average_precision() == pytest.approx(0.5)


def test_a_wrong_one_before_the_right_ones():
    # Precision is 1/2 at recall 1/2 and 2/3 at recall 1, which holds for all lower recalls.
    ranking, outcomes = ranked(([0.9, 0.8, 0.7], [[0, 0], [0.9, 0], [0, 0.9]], [1, 1]))
    assert outcomes == [[0, 1, 1]]
    assert ranking.average_precision() == pytest.approx(2 / 3)


def test_a_wrong_one_between_the_right_ones():
    # Precision 1 up to recall 1/2 (20 recalls), then 2/3 (20 recalls).
    ranking, _ = ranked(([0.9, 0.8, 0.7], [[0.9, 0], [0, 0], [0, 0.9]], [1, 1]))
    assert ranking.average_precision() == pytest.approx((20 * 1 + 20 * 2 / 3) / 40)


def test_a_wrong_one_of_low_score_costs_nothing():
    ranking, _ = ranked(([0.9, 0.1], [[0.9], [0]], [1]))
    assert ranking.average_precision() == 1.0


def test_three_objects_in_two_frames():
    # Right, wrong, right, and one never found: 1 to recall 1/3, 2/3 to 2/3, then 0.
    ranking, _ = ranked(([0.9, 0.6], [[0.8], [0.2]], [1]), ([0.5], [[0.51, 0.0]], [1, 1]))
    # Recalls 1/40 to 13/40 are at most 1/3; 14/40 to 26/40 at most 2/3.
    assert ranking.average_precision() == pytest.approx((13 * 1 + 13 * 2 / 3) / 40)


def test_an_object_is_found_once():
    ranking, outcomes = ranked(([0.6, 0.9], [[0.9], [0.7]], [1]))
    assert outcomes == [[0, 1]]
    assert ranking.average_precision() == 1.0


def test_too_little_overlap_is_wrong_and_exactly_enough_is_right():
    assert ranked(([0.9], [[0.49]], [1]))[1] == [[0]]
    assert ranked(([0.9], [[0.5]], [1]))[1] == [[1]]


def test_objects_that_do_not_count():
    # Found or not, they change nothing.
    ranking, outcomes = ranked(([0.9, 0.8], [[0.9, 0], [0, 0.9]], [0, 1]))
    assert outcomes == [[-1, 1]]
    assert ranking.average_precision() == 1.0
    ranking, outcomes = ranked(([0.8], [[0, 0.9]], [0, 1]))
    assert (outcomes, ranking.positives) == ([[1]], 1)
    assert ranking.average_precision() == 1.0


def test_one_that_counts_goes_before_one_that_does_not():
    assert ranked(([0.9], [[0.95, 0.6]], [0, 1]))[1] == [[1]]


def test_where_nothing_is_known_nothing_is_wrong():
    ranking, outcomes = ranked(([0.9, 0.8], [[0.0], [0.9]], [1], [True, True]))
    assert outcomes == [[-1, 1]]
    assert ranking.average_precision() == 1.0


def test_nothing_to_find_and_nothing_found():
    assert math.isnan(ranked(([0.9], [], []))[0].average_precision())
    assert ranked(([], [], [1, 1]))[0].average_precision() == 0.0
    assert math.isnan(Ranking().average_precision())


def test_curve():
    ranking, _ = ranked(([0.9, 0.8, 0.7], [[0.9, 0], [0, 0], [0, 0.9]], [1, 1]))
    scores, recall, precision = ranking.curve()
    assert scores.tolist() == [0.9, 0.8, 0.7]
    assert recall.tolist() == [0.5, 0.5, 1.0]
    assert precision.tolist() == pytest.approx([1, 0.5, 2 / 3])
