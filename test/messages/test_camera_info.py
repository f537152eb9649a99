# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import re

import pytest
import torch
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.camera_info import decode_camera_info

K = [700.0, 0.0, 610.5, 0.0, 710.0, 172.25, 0.0, 0.0, 1.0]
D = [-0.3, 0.1, 0.001, -0.002, 0.01]


def info(**changes) -> CameraInfo:
    values = {'width': 1242, 'height': 375, 'k': K, 'd': D, 'distortion_model': 'plumb_bob'}
    return CameraInfo(**(values | changes))


def test_what_is_read():
    camera = decode_camera_info(info())
    assert camera.size == (1242, 375)
    assert camera.intrinsics.flatten().tolist() == K
    assert camera.distortion.tolist() == [*D, 0.0, 0.0, 0.0]
    assert torch.equal(camera.extrinsics, torch.eye(4, dtype=torch.float64))


def test_r_and_p_say_nothing_and_a_rectified_image_has_no_d():
    camera = decode_camera_info(info(d=[], distortion_model='', p=[9.0] * 12, r=[9.0] * 9))
    assert camera.distortion.tolist() == [0.0] * 8
    assert camera.intrinsics.flatten().tolist() == K


def test_four_numbers_of_a_lens():
    assert decode_camera_info(info(d=D[:4])).distortion.tolist() == [*D[:4], 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    'changes',
    [
        {'d': [*D, 0.0, 0.0, 0.0]},
        {'distortion_model': ''},
        {'d': [*D, 0.0, 0.0, 0.0], 'distortion_model': 'rational_polynomial'},
    ],
)
def test_what_changes_nothing_is_not_refused(changes):
    assert decode_camera_info(info(**changes)).key() == decode_camera_info(info()).key()


def test_a_rational_lens():
    lens = [*D, 0.2, -0.1, 0.05]
    camera = decode_camera_info(info(d=lens, distortion_model='rational_polynomial'))
    assert camera.distortion.tolist() == lens


def test_a_roi_and_binning_project_a_point_to_its_pixel():
    """A block of 2 x 3 pixels of the region of interest is one pixel of the image."""
    roi = RegionOfInterest(x_offset=100, y_offset=30, width=601, height=301)
    whole, part = info(), info(roi=roi, binning_x=2, binning_y=3)
    point = torch.tensor([[0.3, -0.2, 5.0]], dtype=torch.float64)
    pixel, _ = decode_camera_info(whole).project(point)
    camera = decode_camera_info(part)
    again, _ = camera.project(point)
    assert camera.size == (300, 100)
    column, row = ((pixel - torch.tensor([100, 30])) / torch.tensor([2, 3])).flatten().tolist()
    # The centre of a pixel lies half its width from its edge, whatever its size.
    assert again[0, 0].item() == pytest.approx(column + 0.25 - 0.5)
    assert again[0, 1].item() == pytest.approx(row + 1 / 6 - 0.5)


def test_binning_of_one_and_a_full_roi_change_nothing():
    everything = RegionOfInterest(width=1242, height=375)
    camera = decode_camera_info(info(binning_x=1, binning_y=1, roi=everything))
    assert camera.size == (1242, 375)
    assert camera.intrinsics.flatten().tolist() == K


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'k': [0.0] * 9}, 'k is all zeros, as of a camera that is not calibrated; expected'),
        ({'k': [float('nan'), *K[1:]]}, 'expected 9 finite numbers'),
        ({'d': D[:3]}, 'd has 3 numbers; expected 0, 4, 5, 8, 12 or 14'),
        ({'d': [0.1] * 8}, 'expected zeros after the fifth number, or rational_polynomial'),
        ({'d': D[:4], 'distortion_model': 'equidistant'}, "distortion_model is 'equidistant'"),
        ({'width': 0}, 'width and height are (0, 375); expected both above 0'),
        (
            {'roi': RegionOfInterest(x_offset=1000, width=500)},
            'roi is 500 x 375 at 1000, 0; expected a part of 1242 x 375 pixels',
        ),
        ({'roi': RegionOfInterest(y_offset=375)}, 'roi is 1242 x 0 at 0, 375'),
        ({'binning_x': 2000}, 'binning is 2000 x 1; expected at most 1242 x 375'),
    ],
)
def test_what_is_refused(changes, reason):
    with pytest.raises(TinyBevError, match=re.escape(reason)):
        decode_camera_info(info(**changes))
