# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Calibration error on constructed cases, and the fit of a known calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.training.reliability import MIN_DETECTIONS, calibration_error, fit_logistic


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_scores_that_are_the_fraction_of_hits_have_no_error():
    scores = np.repeat([0.2, 0.5, 0.9], 10)
    hits = np.concatenate([np.arange(10) < number for number in (2, 5, 9)])
    assert calibration_error(scores, hits) == pytest.approx(0)


def test_bins_are_weighted_by_their_detections():
    # Thirty detections are overconfident by 0.3, ten are underconfident by 0.5.
    scores = np.concatenate([np.full(30, 0.8), np.full(10, 0.3)])
    hits = np.concatenate([np.arange(30) < 15, np.arange(10) < 8])
    assert calibration_error(scores, hits) == pytest.approx((30 * 0.3 + 10 * 0.5) / 40)


def test_errors_of_one_bin_cancel_and_those_of_two_do_not():
    # Bins are 0.095 wide, from 0.05 on.
    one_bin = np.array([0.55, 0.60])
    assert calibration_error(one_bin, np.array([True, False])) == pytest.approx(0.075)
    two_bins = np.array([0.45, 0.60])
    error = calibration_error(two_bins, np.array([True, False]))
    assert error == pytest.approx((0.55 + 0.60) / 2)


def test_low_scores_do_not_count_and_the_ends_do():
    scores, hits = np.array([0.049, 0.05, 1.0]), np.array([True, False, True])
    assert calibration_error(scores, hits) == pytest.approx(0.05 / 2)
    assert math.isnan(calibration_error(np.array([0.01]), np.array([True])))
    assert math.isnan(calibration_error(np.empty(0), np.empty(0, bool)))


@pytest.mark.parametrize(('scale', 'bias'), [(1.0, 0.0), (0.6, -2.0), (2.5, 1.0)])
def test_a_fit_recovers_a_known_calibration(scale, bias):
    random = np.random.default_rng(0)
    logits = random.normal(-1, 2, 40_000)
    hits = random.random(len(logits)) < sigmoid(scale * logits + bias)
    found = fit_logistic(logits, hits, 'vehicle')
    assert found == pytest.approx((scale, bias), abs=0.08)
    before = calibration_error(sigmoid(logits), hits)
    after = calibration_error(sigmoid(found[0] * logits + found[1]), hits)
    assert after < 0.012
    assert after < before + 0.005


def test_a_fit_of_separate_logits_is_finite():
    logits = np.concatenate([np.full(50, -3.0), np.full(50, 3.0)])
    scale, bias = fit_logistic(logits, logits > 0, 'vehicle')
    assert math.isfinite(scale) and math.isfinite(bias)
    assert sigmoid(3 * scale + bias) > 0.9


def test_too_few_detections_and_useless_scores_are_refused():
    few = np.linspace(-2, 2, 2 * MIN_DETECTIONS - 1)
    with pytest.raises(
        TinyBevError, match='cyclist has 19 right and 20 wrong detections; expecte'
    ):
        fit_logistic(few, few > 0, 'cyclist')
    logits = np.linspace(-2, 2, 200)
    with pytest.raises(TinyBevError, match=r'cyclist has a scale of -.*; expected 0.05 or more'):
        fit_logistic(logits, np.random.default_rng(0).random(200) > sigmoid(logits), 'cyclist')
