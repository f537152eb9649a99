# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from tiny_bev_ros.sim import Box, Cylinder, Ground, Lidar, Scene, Spheres, Surface, scan, street
from tiny_bev_ros.sim.street import EGO_Y

GREY = Surface(0.4)
ORIGIN = np.array([0, 0, 1.73], np.float32)
# No noise and no losses (a mirror-bright world): the geometry alone.
EXACT = Lidar(noise=0.0, dropout=0.0)
BRIGHT = Surface(1.0)


def ray(x: float, y: float, z: float) -> np.ndarray:
    direction = np.array([[x, y, z]], np.float32)
    return direction / np.linalg.norm(direction)


def test_ground_is_hit_below_the_horizon_only() -> None:
    rays = np.concatenate([ray(1, 0, -0.5), ray(1, 0, 0), ray(1, 0, 0.5)])
    distance, cosine = Ground(surface=GREY).intersect(ORIGIN, rays)
    assert distance[0] == pytest.approx(1.73 * np.sqrt(5), rel=1e-5)
    assert np.isinf(distance[1:]).all()
    assert cosine[0] == pytest.approx(1 / np.sqrt(5), rel=1e-5)


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [((1, 0, 0), 8.0), ((1, 0.2, 0), np.inf), ((-1, 0, 0), np.inf), ((1, 0, 0.3), np.inf)],
)
def test_box_front(direction: tuple[float, float, float], expected: float) -> None:
    box = Box(surface=GREY, centre=(10, 0, 1.5), size=(4, 2, 3))
    distance, cosine = box.intersect(ORIGIN, ray(*direction))
    assert distance[0] == pytest.approx(expected)
    if np.isfinite(expected):
        assert cosine[0] == pytest.approx(1.0)


def test_turned_box_shows_its_edge() -> None:
    box = Box(surface=GREY, centre=(10, 0, 1.5), size=(2, 2, 3), yaw=np.pi / 4)
    distance, cosine = box.intersect(ORIGIN, ray(1, 1e-4, 0))
    assert distance[0] == pytest.approx(10 - np.sqrt(2), abs=1e-2)
    assert cosine[0] == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_cylinder_has_ends() -> None:
    pole = Cylinder(surface=GREY, centre=(5, 0), radius=0.5, z_range=(0, 2))
    distance, cosine = pole.intersect(ORIGIN, ray(1, 0, 0))
    assert (distance[0], cosine[0]) == (pytest.approx(4.5), pytest.approx(1.0))
    above, _ = pole.intersect(ORIGIN, ray(1, 0, 0.1))
    beside, _ = pole.intersect(ORIGIN, ray(1, 0.12, 0))
    assert np.isinf([above[0], beside[0]]).all()


def test_spheres_give_the_nearest() -> None:
    bush = Spheres(surface=GREY, centres=((9, 0, 1.73), (6, 0, 1.73), (3, 5, 1.73)), radius=0.5)
    distance, _ = bush.intersect(ORIGIN, ray(1, 0, 0))
    assert distance[0] == pytest.approx(5.5, rel=1e-5)


@pytest.mark.parametrize(
    'solid',
    [
        Box(surface=BRIGHT, centre=(8, 5, 1), size=(4, 2, 2), yaw=0.5),
        Box(surface=BRIGHT, centre=(-8, 0.3, 1), size=(4, 2, 2), yaw=-2.0),
        Box(surface=BRIGHT, centre=(0, 6, 1), size=(80, 0.5, 2)),
        Cylinder(surface=BRIGHT, centre=(-4, -3), radius=0.4, z_range=(0, 3)),
        Spheres(surface=BRIGHT, centres=((7, -7, 1), (8, -6, 1.2)), radius=0.8),
    ],
    ids=['ahead', 'behind, across the seam', 'wall alongside', 'pole', 'bush'],
)
@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (1.0, -1.0, 2.5)])
def test_no_ray_is_left_out_by_the_culling(solid: object, pose: tuple[float, ...]) -> None:
    class Everywhere:
        """The same solid, tested against every ray."""

        bounds = None
        surface = BRIGHT
        intersect = staticmethod(solid.intersect)

    culled = scan(Scene((solid,)), EXACT, pose, seed=3)
    complete = scan(Scene((Everywhere(),)), EXACT, pose, seed=3)
    assert len(culled) > 50
    np.testing.assert_array_equal(culled, complete)


def test_points_are_in_the_frame_of_the_sensor() -> None:
    post = Cylinder(surface=BRIGHT, centre=(10, 7), radius=0.1, z_range=(0, 3))
    # Looking along +y from (10, 2), the post is 5 m straight ahead.
    points = scan(Scene((post,)), EXACT, (10, 2, np.pi / 2))
    assert len(points)
    assert points[:, 0] == pytest.approx(4.9, abs=0.11)
    assert np.abs(points[:, 1]).max() < 0.11
    assert points[:, 2].min() == pytest.approx(-1.73, abs=0.1)


def test_near_things_hide_far_ones() -> None:
    near = Box(surface=BRIGHT, centre=(5, 0, 2), size=(1, 4, 4))
    far = Box(surface=BRIGHT, centre=(9, 0, 2), size=(1, 4, 4))
    both, alone = (scan(Scene(solids), EXACT, (0, 0, 0)) for solids in ((far, near), (near,)))
    np.testing.assert_array_equal(both, alone)


def test_range_limits_noise_and_dropout() -> None:
    wall = Scene((Box(surface=BRIGHT, centre=(10, 0, 2), size=(1, 8, 4)),))
    assert len(scan(wall, Lidar(max_range=9.0), (0, 0, 0))) == 0
    assert len(scan(wall, Lidar(min_range=15.0), (0, 0, 0))) == 0
    exact = scan(wall, EXACT, (0, 0, 0))
    noisy = scan(wall, Lidar(noise=0.02, dropout=0.0), (0, 0, 0))
    assert np.std(noisy[:, 0] - 9.5) == pytest.approx(0.02, rel=0.2)
    assert exact[:, 0] == pytest.approx(9.5, abs=1e-4)
    lossy = scan(wall, Lidar(dropout=0.5), (0, 0, 0))
    assert 0.45 < len(lossy) / len(exact) < 0.55
    glass = Scene((Box(surface=Surface(1.0, dropout=1.0), centre=(10, 0, 2), size=(1, 8, 4)),))
    assert len(scan(glass, EXACT, (0, 0, 0))) == 0
    assert scan(Scene(()), EXACT, (0, 0, 0)).shape == (0, 4)


def test_scene_moves_with_its_velocities() -> None:
    car = Box(surface=GREY, velocity=(10, -1), centre=(5, 0, 1), size=(4, 2, 1.5))
    pole = Cylinder(surface=GREY, centre=(5, 5), radius=0.1, z_range=(0, 3))
    later = Scene((car, pole)).at(0.5)
    assert later.solids[0].centre == pytest.approx((10, -0.5, 1))
    assert later.solids[1] is pole


def test_a_street_is_its_seed() -> None:
    assert street(4) == street(4)
    assert street(4) != street(5)
    scene = street(4)
    one, again, other = (scan(scene, Lidar(), (0, EGO_Y, 0), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize('seed', range(6))
def test_street_sweep_is_like_a_real_one(seed: int) -> None:
    points = scan(street(seed), Lidar(), (0, EGO_Y, 0), seed)
    assert points.dtype == np.float32
    assert points.shape[1] == 4
    assert np.isfinite(points).all()
    # A sweep of the HDL-64E has 110 to 127 thousand points from about 1.15 times the firings.
    assert 85_000 < len(points) < 115_200
    x, y, z, intensity = points.T
    distance = np.hypot(x, y)
    assert 60 < distance.max() < 120
    assert distance.min() > 1.4
    assert (intensity >= 0).all()
    assert (intensity <= 1).all()
    road = (np.abs(y) < 1.5) & (distance < 15) & (z < -1.5)
    assert road.sum() > 10_000
    assert np.median(z[road]) == pytest.approx(-1.73, abs=0.01)
    # Cars and house fronts rise beside the road, on both sides.
    for side in (y > 3, y < -3):
        assert (side & (z > -1.4) & (distance < 40)).sum() > 2_000


def test_ego_drive_hits_nothing() -> None:
    for seed in range(10):
        scene = street(seed)
        for seconds in np.arange(0, 3.1, 0.5):
            for solid in scene.at(seconds).solids:
                if solid.bounds is None or solid.bounds[2] < 0.2:
                    continue
                outline = solid.bounds[0] - (8 * seconds, EGO_Y)
                low, high = outline.min(axis=0), outline.max(axis=0)
                beside = low[0] > 3 or high[0] < -3 or low[1] > 1 or high[1] < -1
                assert beside, f'seed {seed} at {seconds} s: {solid}'
