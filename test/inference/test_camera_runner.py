# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera runner: features of images, and the cameras that belong to them."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.models import CameraEncoder, make_camera, seeded

AHEAD = [[0, -1, 0, 0], [0, 0, -1, -0.3], [1, 0, 0, 0.1], [0, 0, 0, 1]]
CPU = torch.device('cpu')


def camera(size=(310, 94)):
    k = [180.0, 0, (size[0] - 1) / 2, 0, 180.0, (size[1] - 1) / 2, 0, 0, 1]
    return make_camera(k, AHEAD, size, [-0.2, 0.05, 0.001, -0.001, 0.0])


def picture(size=(310, 94)):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def encoder(stride=8):
    with seeded(0):
        return CameraEncoder(out_channels=16, stride=stride).eval()


def test_as_the_encoder_alone():
    rgb = picture()
    features, _ = CameraRunner(encoder(), CPU)(rgb, camera())
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None, None] / 255
    torch.testing.assert_close(features[None], encoder()(image), rtol=1e-4, atol=1e-5)


def test_the_encoder_is_left_alone():
    given = encoder()
    before = {key: value.clone() for key, value in given.state_dict().items()}
    CameraRunner(given, CPU)(picture(), camera())
    assert all(torch.equal(before[key], value) for key, value in given.state_dict().items())


def test_scaled_and_cropped():
    rgb = picture()
    features, _ = CameraRunner(encoder(), CPU, resize_width=155, crop_height=40)(rgb, camera())
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    image = interpolate(image, (47, 155), mode='bilinear', antialias=True)[:, :, 7:]
    expected = encoder()(image[None] / 255)[0]
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('resize_width', 'crop_height'), [(0, 0), (155, 0), (0, 64), (155, 40), (620, 100)]
)
@pytest.mark.parametrize('stride', [4, 8])
def test_a_feature_lies_where_its_pixels_do(resize_width, crop_height, stride):
    runner = CameraRunner(encoder(stride), CPU, resize_width=resize_width, crop_height=crop_height)
    taken = camera()
    features, seen = runner(picture(), taken)
    assert (features.shape[3], features.shape[2]) == seen.size
    width, height = resize_width or 310, crop_height
    rows = round(94 * width / 310)
    above = rows - (height or rows)
    place = torch.tensor([[8.0, 1.5, 0.2], [20.0, -3.0, -1.0]])
    before, after = taken.project(place)[0], seen.project(place)[0]
    scaled = (before + 0.5) * torch.tensor([width / 310, rows / 94]) - torch.tensor([0, above])
    torch.testing.assert_close((after + 0.5) * stride, scaled, rtol=0, atol=1e-3)


def test_every_precision_is_close():
    rgb = picture()
    exact, _ = CameraRunner(encoder(), CPU)(rgb, camera())
    lower, _ = CameraRunner(encoder(), CPU, 'bfloat16')(rgb, camera())
    assert lower.dtype == torch.float32
    assert (lower - exact).abs().max() < 0.05 * exact.abs().max()


def test_warm_up_takes_any_size():
    CameraRunner(encoder(), CPU, resize_width=64).warm_up((310, 94))


def test_wrong_sizes():
    with pytest.raises(TinyBevError, match=r'resize_width is -1; expected 0 or more'):
        CameraRunner(encoder(), CPU, resize_width=-1)
    with pytest.raises(TinyBevError, match=r'crop_height is -1; expected 0 or more'):
        CameraRunner(encoder(), CPU, crop_height=-1)
    with pytest.raises(TinyBevError, match=r'image is of 310 x 94 pixels; expected 620 x 188'):
        CameraRunner(encoder(), CPU)(picture(), camera((620, 188)))
    with pytest.raises(TinyBevError, match=r'crop_height is 48; expected at most 47, as images'):
        CameraRunner(encoder(), CPU, resize_width=155, crop_height=48)(picture(), camera())


def test_a_picture_that_may_not_be_written_to():
    rgb = picture()
    rgb.setflags(write=False)
    features, _ = CameraRunner(encoder(), CPU)(rgb, camera())
    assert features.isfinite().all()
