# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Camera geometry: projection, its inverse, visibility, and checks of calibrations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.camera.geometry import Camera, make_camera
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.training.kitti import IMAGE_SIZE, Calibration, KittiFolder

# Optical x (right) is -y of the points, y (down) is -z, and z (ahead) is x.
AHEAD = [[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]]
K = [700.0, 0, 620.0, 0, 710.0, 180.0, 0, 0, 1]
LENS = [-0.3, 0.12, 0.001, -0.0005, -0.02]
# Coefficients of a wide depth camera: numerator and denominator nearly cancel.
RATIONAL = [0.44, -2.62, 0.0005, -0.0002, 1.53, 0.32, -2.45, 1.46]


def camera(distortion=(), **changes):
    values = {'intrinsics': K, 'extrinsics': AHEAD, 'size': (1242, 375)} | changes
    return make_camera(distortion=distortion, **values)


def test_a_point_ahead_projects_as_computed_by_hand():
    pixels, depth = camera().project(torch.tensor([[10.3, 2.0, 1.0]]))
    # Optical position: x = -2 + 0.1, y = -1 - 0.2, z = 10.3 - 0.3.
    expected = [[620 + 700 * -1.9 / 10, 180 + 710 * -1.2 / 10]]
    torch.testing.assert_close(pixels, torch.tensor(expected))
    torch.testing.assert_close(depth, torch.tensor([10.0]))


@pytest.mark.parametrize(
    ('lens', 'model'), [(LENS, 'plumb_bob'), (RATIONAL, 'rational_polynomial')]
)
def test_the_distortion_is_that_of_opencv(lens, model):
    x, y = 0.4, -0.2
    k1, k2, p1, p2, k3, k4, k5, k6 = (lens + [0.0] * 3)[:8]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    bent = (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )
    made = camera(lens, extrinsics=np.eye(4).tolist(), model=model)
    pixels, _ = made.project(torch.tensor([[4.0, -2.0, 10.0]], dtype=torch.float64))
    expected = [[620 + 700 * bent[0], 180 + 710 * bent[1]]]
    torch.testing.assert_close(pixels, torch.tensor(expected, dtype=torch.float64))


@given(
    col=st.floats(0, 1241),
    row=st.floats(0, 374),
    depth=st.floats(0.5, 120),
    lens=st.sampled_from(
        [[], LENS, [-0.2, 0.05, 0, 0, 0], [0.1, 0.02, -0.002, 0.001, 0.01], RATIONAL]
    ),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_pixels_to_metres_and_back(col, row, depth, lens):
    made = camera(lens, model='')
    pixels = torch.tensor([[col, row]], dtype=torch.float64)
    there = made.unproject(pixels, torch.tensor([depth], dtype=torch.float64))
    back, far = made.project(there)
    torch.testing.assert_close(back, pixels, atol=1e-6, rtol=0)
    torch.testing.assert_close(far, torch.tensor([depth], dtype=torch.float64))
    assert made.visible(there).all()


def test_scaling_and_cropping_are_in_the_matrix():
    places = torch.tensor([[12.0, 1.5, 0.2], [30.0, -4.0, -1.0]], dtype=torch.float64)
    whole, _ = camera(LENS).project(places)
    half, _ = camera(LENS).scaled((621, 125)).project(places)
    # The image edge at -0.5 is unchanged.
    factor = torch.tensor([621 / 1242, 125 / 375], dtype=torch.float64)
    torch.testing.assert_close(half, (whole + 0.5) * factor - 0.5)
    part, _ = camera(LENS).cropped(100, 50, (400, 200)).project(places)
    torch.testing.assert_close(part, whole - torch.tensor([100.0, 50.0]).double())


def test_points_beside_behind_or_folded_back_are_not_visible():
    places = torch.tensor([[10.0, 0, 0], [-10.0, 0, 0], [0.0, 0, 0], [10.0, 60.0, 0]])
    assert camera().visible(places).tolist() == [True, False, False, False]
    # A distortion that folds back: rays from far outside project into the image again.
    strong = camera([-0.5, 0, 0, 0, 0])
    pixels, _ = strong.project(torch.tensor([[10.0, 14.0, 0.0]]))
    assert 0 < float(pixels[0, 0]) < 1242
    assert not strong.visible(torch.tensor([[10.0, 14.0, 0.0]])).any()
    # A distortion that folds back, then outward again: only the inner region is valid.
    twice = camera([-0.5, 0.1, 0, 0, 0])
    places = torch.tensor([[10.0, each, 0.0] for each in (3.0, 9.0, 11.0, 14.5, 16.0)])
    pixels, _ = twice.project(places)
    assert ((pixels[:, 0] > 0) & (pixels[:, 0] < 1242)).all()
    assert twice.visible(places).tolist() == [True, True, False, False, False]
    # A negligible coefficient has no effect.
    assert camera([0.1, 0, 0, 0, 1e-310]).visible(places[:1]).all()


def test_a_rational_lens_ends_where_it_folds_back_or_is_unbounded():
    def visible(lens, *radii):
        wide = {'intrinsics': [1.0, 0, 500, 0, 1, 500, 0, 0, 1], 'size': (1000, 1000)}
        still = np.eye(4).tolist()
        made = camera(lens, model='rational_polynomial', extrinsics=still, **wide)
        return made.visible(torch.tensor([[each, 0.0, 1.0] for each in radii])).tolist()

    # r / (1 + r^2) folds back at r = 1.
    assert visible([0, 0, 0, 0, 0, 1.0, 0, 0], 0.5, 0.99, 1.01, 3.0) == [True, True, False, False]
    # r / (1 - r^2) is unbounded at r = 1.
    assert visible([0, 0, 0, 0, 0, -1.0, 0, 0], 0.5, 0.99, 1.01, 3.0) == [True, True, False, False]


@pytest.mark.parametrize(
    ('lens', 'model', 'read'),
    [
        ([*LENS, 0, 0, 0], 'plumb_bob', LENS),
        ([*LENS] + [0] * 9, 'plumb_bob', LENS),
        (LENS, '', LENS),
        (LENS, 'Plumb_Bob', LENS),
        (LENS[:4], 'plumb_bob', LENS[:4]),
        (LENS, 'rational_polynomial', LENS),
        ([*LENS, 0, 0, 0], 'rational_polynomial', LENS),
        (RATIONAL, 'RATIONAL_POLYNOMIAL', RATIONAL),
        (RATIONAL, '', RATIONAL),
        ([*RATIONAL, 0, 0, 0, 0], 'rational_polynomial', RATIONAL),
        ([*RATIONAL] + [0] * 6, 'rational_polynomial', RATIONAL),
        ([0.0] * 7, 'plumb_bob', []),
        ([0.0] * 5, 'none', []),
        ([], '', []),
    ],
)
def test_zeros_after_the_used_coefficients_are_ignored(lens, model, read):
    assert camera(lens, model=model).distortion.tolist() == (read + [0.0] * 8)[:8]


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({'intrinsics': [1.0, 2.0]}, 'k is .*expected 9 finite'),
        ({'intrinsics': [0.0] * 9}, 'k is all zeros, as of a camera that is not calibrated'),
        ({'intrinsics': [-1.0, *K[1:]]}, 'k is .*focal lengths above 0'),
        ({'distortion': [0.1] * 6}, 'd has 6 numbers; expected 0, 4, 5, 8, 12 or 14'),
        ({'distortion': [0.1] * 8}, 'expected zeros after the fifth number, or rational'),
        (
            {'distortion': [0.1] * 12, 'model': 'rational_polynomial'},
            'expected zeros after the eighth number',
        ),
        ({'distortion': [0.1] * 4, 'model': ''}, "is '' with 4 numbers in d; expected plumb_bob"),
        ({'distortion': [0.0] * 5 + [float('nan')] * 3}, 'd is .*finite'),
        # A fisheye with zero coefficients is still a fisheye.
        ({'distortion': [0.0] * 4, 'model': 'equidistant'}, "is 'equidistant'; expected plumb"),
        ({'distortion': [0.1] * 5, 'model': 'none'}, "is 'none'; expected .*, or d of zeros"),
        ({'distortion': [float('nan')] * 4}, 'd is .*finite'),
        ({'distortion': [0.0, 1e308, 0, 0, 1e-5]}, 'd is .*at most 1e.06'),
        (
            {'distortion': [0.1] * 4, 'model': 'equidistant'},
            "is 'equidistant'; expected plumb",
        ),
        ({'extrinsics': np.eye(3).tolist()}, r'shape \(3, 3\); expected 4 x 4'),
        ({'extrinsics': (2 * np.eye(4)).tolist()}, 'expected a rotation'),
        ({'extrinsics': np.diag([1.0, 1, -1, 1]).tolist()}, 'expected a rotation'),
        ({'size': (0, 375)}, r'\(0, 375\); expected both above 0'),
    ],
)
def test_invalid_calibrations_are_refused(changes, error):
    with pytest.raises(TinyBevError, match=error):
        camera(**changes)


def of_kitti(calibration: Calibration) -> Camera:
    """Camera of KITTI, whose one matrix P = K [1 | t] has intrinsics and translation."""
    lens = calibration.projection[:, :3]
    mount = np.eye(4)
    mount[:3] = calibration.to_camera
    mount[:3, 3] += np.linalg.inv(lens) @ calibration.projection[:, 3]
    return make_camera(lens.ravel().tolist(), mount.tolist(), IMAGE_SIZE)


def test_labelled_objects_of_kitti_fall_on_their_rectangles(data_dir):
    """Projected corners of LiDAR boxes lie in the rectangles that annotators drew."""
    frames = KittiFolder(data_dir / 'kitti')
    overlaps = []
    for name in frames.names:
        made = of_kitti(frames.calibration(name))
        for each in frames.objects(name):
            if each.kind == 'DontCare' or each.truncated > 0 or each.occluded > 0:
                continue
            flat = corners_bev(torch.from_numpy(each.box[None]).float())[0]
            heights = (each.box[2] - each.box[5] / 2, each.box[2] + each.box[5] / 2)
            places = [torch.cat([flat, torch.full((4, 1), z)], dim=1) for z in heights]
            pixels, depth = made.project(torch.cat(places).double())
            assert (depth > 0).all()
            overlaps.append(overlap(pixels.numpy(), each.image_box))
    assert len(overlaps) >= 10
    assert np.median(overlaps) > 0.85
    assert min(overlaps) > 0.6


def test_points_of_kitti_project_as_its_matrices_do(data_dir):
    frames = KittiFolder(data_dir / 'kitti')
    calibration = frames.calibration(frames.names[0])
    points = frames.points(frames.names[0])[::50, :3].astype(np.float64)
    points = points[calibration.in_image(points)]
    pixels, _ = of_kitti(calibration).project(torch.from_numpy(points))
    expected, _ = calibration.pixels(points)
    assert len(points) > 100
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)


def overlap(pixels: np.ndarray, rectangle: np.ndarray) -> float:
    """Intersection over union of the bounding rectangle of pixels with another."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    shared = (np.minimum(high, rectangle[2:]) - np.maximum(low, rectangle[:2])).clip(0).prod()
    both = (high - low).prod() + (rectangle[2:] - rectangle[:2]).prod() - shared
    return float(shared / both)
