# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import replace

import numpy as np
import pytest

from tiny_bev_ros.sim import CLASSES, LIDARS, Mounting, Scene, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.world.parts import BALL, FRUSTUM, Material, PartList, Pose
from tiny_bev_ros.sim.world.scene import OBJECT, empty
from tiny_bev_ros.sim.world.terrain import CELL, Terrain, flat

# No noise and no losses (a mirror-bright world): the geometry alone.
EXACT = replace(LIDARS['hdl64'], noise=0.0, dropout=0.0, faintness=1e-12)
BRIGHT = Material(1.0)
LEVEL = flat(reflectivity=1.0)
HERE = (0.0, 0.0, 0.0)


def scene_of(*things, terrain=LEVEL):
    """A scene of things: functions that add parts."""
    parts = PartList()
    for add in things:
        add(parts)
    return replace(empty(terrain), parts=parts.array())


def things(sweep):
    """Points that do not lie on the ground."""
    return sweep.points[sweep.instance_ids > -2]


def box(position, size, pose=None, **options):
    return lambda parts: parts.stand(pose or Pose(0, 0)).box(position, size, BRIGHT, **options)


def test_ground_is_level_and_ends_at_the_horizon():
    sweep = scan(scene_of(), EXACT, HERE)
    assert (sweep.instance_ids == -2).all()
    np.testing.assert_allclose(sweep.points[:, 2], -1.73, atol=1e-3)
    assert np.hypot(*sweep.points[:, :2].T).max() > 70


def test_front_of_a_box():
    points = things(scan(scene_of(box((10, 0, 1.5), (4, 2, 3))), EXACT, HERE))
    front = points[points[:, 2] < 1]
    assert len(front) > 300
    np.testing.assert_allclose(front[:, 0], 8.0, atol=1e-4)
    assert front[:, 1].min() == pytest.approx(-1, abs=0.05)
    assert front[:, 1].max() == pytest.approx(1, abs=0.05)


def test_turned_box_shows_its_edge():
    turned = box((0, 0, 1.5), (2, 2, 3), Pose(10, 0, yaw=np.pi / 4))
    points = things(scan(scene_of(turned), EXACT, HERE))
    assert points[:, 0].min() == pytest.approx(10 - np.sqrt(2), abs=0.03)
    along = np.abs(points[:, 0] - 10) + np.abs(points[:, 1])
    np.testing.assert_allclose(along, np.sqrt(2), atol=1e-3)


def test_frustum_leans():
    lean = box((10, 0, 1.0), (4, 2, 2), taper=(0.5, 0.5), shift=0.5)
    points = things(scan(scene_of(lean), EXACT, HERE))
    # Its front face goes from x = 8 at the bottom to 10 + 0.5 - 1 at the top.
    front = points[np.abs(points[:, 1]) < 0.3]
    np.testing.assert_allclose(front[:, 0], 8 + 1.5 * (front[:, 2] + 1.73) / 2, atol=1e-3)


def test_tube_and_ball_are_round():
    tube = scene_of(lambda parts: parts.tube((8, 0, 1), (2, 2, 2), BRIGHT))
    ball = scene_of(lambda parts: parts.ball((8, 0, 1.5), (2, 2, 2), BRIGHT))
    for scene, middle in ((tube, None), (ball, 1.5 - 1.73)):
        points = things(scan(scene, EXACT, HERE))
        assert len(points) > 200
        away = points[:, :3] - (8, 0, middle if middle is not None else 0)
        if middle is None:
            away[:, 2] = 0
        radius = np.linalg.norm(away, axis=1)
        assert radius.min() > 0.9
        assert radius.max() < 1.28


@pytest.mark.parametrize(
    'thing',
    [
        box((0, 0, 1), (4, 2, 2), Pose(8, 5, yaw=0.5)),
        box((0, 0, 1), (4, 2, 2), Pose(-8, 0.3, yaw=-2.0, pitch=0.2, roll=-0.1)),
        box((0, 6, 1), (80, 0.5, 2)),
        box((3, 0, 1), (3, 2, 2), taper=(0.3, 0.5), shift=-0.8),
        lambda parts: parts.tube((-4, -3, 1.5), (0.8, 0.8, 3), BRIGHT, taper=0.5),
        lambda parts: parts.ball((7, -7, 1), (1.6, 2.4, 1.0), BRIGHT, yaw=1.0),
    ],
    ids=['ahead', 'behind, leaning', 'wall alongside', 'frustum', 'tube', 'ball'],
)
@pytest.mark.parametrize('pose', [HERE, (1.0, -1.0, 2.5)])
def test_rays_meet_what_a_slow_check_says(thing, pose):
    """Every point of the surface lies on a plane of the part, and no ray that hits it is lost."""
    scene = scene_of(thing)
    sweep = scan(scene, EXACT, pose, seed=3)
    found = things(sweep)
    assert len(found) > 50
    # A part cut into pieces gives equal points, although each piece is culled alone.
    assert len(found) == pytest.approx(brute_force(scene, EXACT, pose, seed=3), abs=3)


def brute_force(scene: Scene, lidar, pose, seed: int) -> int:
    """Counts the rays that hit the first part, tested plane by plane in float64."""
    part = scene.parts[0]
    random = np.random.default_rng(seed)
    step = 2 * np.pi / lidar.columns
    azimuth = pose[2] + random.random() * step + np.arange(lidar.columns) * step
    elevation = np.radians(lidar.elevations)
    rays = np.stack(
        [
            np.cos(elevation)[:, None] * np.cos(azimuth),
            np.cos(elevation)[:, None] * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation)[:, None], (len(elevation), lidar.columns)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    from tiny_bev_ros.sim.sensors.half_spaces import part_planes
    from tiny_bev_ros.sim.world.parts import attitudes

    _, turn = attitudes(scene.parts['angles'])
    origin = np.array([*pose[:2], 1.73])
    position = (scene.parts['position'] - origin).astype(np.float32)
    planes, counts = part_planes(
        scene.parts['kind'],
        position,
        turn,
        scene.parts['size'],
        scene.parts['taper'],
        scene.parts['shift'],
    )
    assert counts[0] == {FRUSTUM: 6, BALL: 12}.get(int(part['kind']), 10)
    normals, offsets = planes[0, : counts[0], :3].astype(float), planes[0, : counts[0], 3]
    toward = rays @ normals.T
    with np.errstate(divide='ignore'):
        at = offsets / toward
    near = np.where(toward < 0, at, 0).max(axis=1)
    far = np.where(toward > 0, at, np.inf).min(axis=1)
    ground = np.where(rays[:, 2] < 0, -1.73 / rays[:, 2].clip(max=-1e-9), np.inf)
    met = (near < far) & (near > lidar.min_range) & (near < ground)
    return int(met.sum())


def test_points_are_in_the_frame_of_the_sensor():
    post = box((10, 7, 1.5), (0.2, 0.2, 3))
    # Looking along +y from (10, 2), the post is 5 m straight ahead.
    points = things(scan(scene_of(post), EXACT, (10, 2, np.pi / 2)))
    assert len(points)
    np.testing.assert_allclose(points[:, 0], 4.9, atol=0.05)
    assert np.abs(points[:, 1]).max() < 0.11


def test_a_leaning_sensor_sees_the_same_world():
    post = box((10, 0, 1.5), (0.2, 0.2, 3))
    mounting = Mounting(2.0, pitch=0.1, roll=-0.05)
    sweep = scan(scene_of(post), EXACT, HERE, mounting=mounting)
    from tiny_bev_ros.sim.world.parts import rotation

    level = sweep.points[:, :3] @ rotation(0, 0.1, -0.05).T
    np.testing.assert_allclose(level[sweep.instance_ids == -2, 2], -2.0, atol=0.01)
    np.testing.assert_allclose(level[sweep.instance_ids == -1, 0], 9.9, atol=0.05)


def test_near_things_hide_far_ones():
    near, far = box((5, 0, 2), (1, 4, 4)), box((9, 0, 2), (1, 4, 4))
    both, alone = (scan(scene_of(*all_of), EXACT, HERE) for all_of in ((far, near), (near,)))
    np.testing.assert_array_equal(both.points, alone.points)


def test_range_limits_noise_and_dropout():
    wall = scene_of(box((10, 0, 2), (1, 8, 4)))
    exact = things(scan(wall, EXACT, HERE))
    assert len(things(scan(wall, replace(EXACT, max_range=9.0), HERE))) == 0
    assert len(things(scan(wall, replace(EXACT, min_range=15.0), HERE))) == 0
    noisy = things(scan(wall, replace(EXACT, noise=0.02), HERE))
    assert np.std(noisy[:, 0] - 9.5) == pytest.approx(0.02, rel=0.2)
    lossy = things(scan(wall, replace(EXACT, dropout=0.5), HERE))
    assert 0.45 < len(lossy) / len(exact) < 0.55


def test_what_is_porous_lets_rays_through():
    glass = Material(1.0, density=0.3)

    def pane(parts):
        parts.box((5, 0, 2), (0.1, 4, 4), glass)

    wall = box((9, 0, 2), (1, 4, 4))
    points = things(scan(scene_of(pane, wall), EXACT, HERE))
    # Rays that would end at the wall and not on the ground before it.
    middle = points[
        (np.abs(points[:, 1]) < 0.15 * points[:, 0]) & (points[:, 2] > -0.18 * points[:, 0])
    ]
    fraction = (middle[:, 0] < 6).mean()
    assert 0.25 < fraction < 0.35
    assert (middle[:, 0] > 8).mean() == pytest.approx(1 - fraction)
    deep = Material(1.0, depth=0.5)

    def leaves(parts):
        parts.box((5, 0, 2), (2, 4, 4), deep)

    points = things(scan(scene_of(leaves), EXACT, HERE))
    front = points[np.abs(points[:, 1]) < 1]
    assert front[:, 0].min() == pytest.approx(4.0, abs=0.02)
    assert front[:, 0].max() == pytest.approx(4.5, abs=0.05)


def test_a_step_in_the_ground():
    size = int(80 / CELL)
    heights = np.zeros((size, size), np.float32)
    heights[:, int(50 / CELL) :] = 0.5  # from x = 10 on
    kerb = Terrain((-40, -40), heights, np.ones_like(heights), heights < 1, heights > 1)
    points = scan(empty(kerb), EXACT, HERE).points
    ahead = points[np.abs(points[:, 1]) < 1]
    np.testing.assert_allclose(ahead[ahead[:, 0] < 9.5, 2], -1.73, atol=0.01)
    np.testing.assert_allclose(ahead[ahead[:, 0] > 10.5, 2], -1.23, atol=0.01)
    assert kerb.height(0, 0) == 0
    assert kerb.height(20, 0) == 0.5
    assert kerb.height(10, 0) == pytest.approx(0.25, abs=0.01)


def test_a_thing_on_a_slope_leans_with_it():
    size = int(80 / CELL)
    x = -40 + (np.arange(size) + 0.5) * CELL
    heights = np.broadcast_to((0.1 * x).astype(np.float32), (size, size))
    slope = Terrain((-40, -40), heights, np.ones_like(heights), heights < 100, heights > 100)
    assert slope.attitude(0, 0, 0.0) == pytest.approx((-np.arctan(0.1), 0), abs=1e-4)
    assert slope.attitude(0, 0, np.pi / 2) == pytest.approx((0, -np.arctan(0.1)), abs=1e-4)
    # A sensor on a vehicle that stands on it finds the ground level.
    points = scan(empty(slope), EXACT, HERE).points
    near = np.hypot(*points[:, :2].T) < 15
    np.testing.assert_allclose(points[near, 2], -1.73, atol=0.02)


def test_scene_moves_with_its_velocities():
    parts = PartList()
    parts.stand(Pose(5, 0), 0).box((0, 0, 1), (4, 2, 1.5), BRIGHT)
    parts.stand(Pose(5, 5)).box((0, 0, 1), (0.2, 0.2, 3), BRIGHT)
    objects = np.array([(0, (5, 0, 1), (4, 2, 1.5), 0, (10, -1))], OBJECT)
    later = Scene(LEVEL, parts.array(), objects).at(0.5)
    np.testing.assert_allclose(later.parts['position'], [(10, -0.5, 1), (5, 5, 1)])
    np.testing.assert_allclose(later.objects['position'], [(10, -0.5, 1)])


def test_a_street_is_its_seed():
    one, again, other = street(4), street(4), street(5)
    assert one.parts.tobytes() == again.parts.tobytes()
    assert one.objects.tobytes() == again.objects.tobytes()
    assert one.parts.tobytes() != other.parts.tobytes()
    pose = ego_pose(street_plan(4))
    sweeps = [scan(one, LIDARS['hdl64'], pose, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(sweeps[0].points, sweeps[1].points)
    assert sweeps[0].points.shape != sweeps[2].points.shape


@pytest.mark.parametrize(
    ('seed', 'parts', 'objects', 'positions', 'sizes'),
    [
        (0, 3700, 98, 92759.58727147186, 10887.019102904946),
        (1, 2591, 69, 64768.22723460969, 6861.934695124626),
        (2, 3059, 94, 36015.701278224806, 9867.837448690087),
    ],
)
def test_streets_of_a_seed_do_not_change_by_accident(seed, parts, objects, positions, sizes):
    scene = street(seed)
    assert (len(scene.parts), len(scene.objects)) == (parts, objects)
    assert scene.parts['position'].astype(float).sum() == pytest.approx(positions, abs=1e-2)
    assert scene.parts['size'].astype(float).sum() == pytest.approx(sizes, abs=1e-2)


@pytest.mark.parametrize('seed', range(6))
def test_street_sweep_is_like_a_real_one(seed):
    sweep = scan(street(seed), LIDARS['hdl64'], ego_pose(street_plan(seed)), seed)
    points = sweep.points
    assert points.dtype == np.float32
    assert points.shape == (len(sweep.instance_ids), 4)
    assert np.isfinite(points).all()
    # A sweep of the HDL-64E has 110 to 127 thousand points from about 1.15 times the firings.
    assert 80_000 < len(points) < 115_200
    x, y, z, intensity = points.T
    distance = np.hypot(x, y)
    assert 50 < distance.max() < 120
    assert distance.min() > 1.4
    assert (intensity >= 0).all()
    assert (intensity <= 1).all()
    road = (np.abs(y) < 1.2) & (distance < 15) & (z < -1.4)
    assert road.sum() > 6_000
    assert np.median(z[road]) == pytest.approx(-1.73, abs=0.05)


@pytest.mark.parametrize('name', list(LIDARS))
def test_every_lidar_sees_the_street(name):
    lidar = LIDARS[name]
    assert list(lidar.elevations) == sorted(lidar.elevations, reverse=True)
    sweep = scan(street(3), lidar, ego_pose(street_plan(3)))
    firings = lidar.columns * len(lidar.elevations)
    if lidar.pattern:
        firings = len(lidar.pattern(np.random.default_rng(0)))
    assert 0.25 < len(sweep.points) / firings < 1


def test_beams_are_those_of_the_data_sheets():
    count = {name: len(lidar.elevations) for name, lidar in LIDARS.items() if not lidar.pattern}
    assert count == {
        'hdl64': 64,
        'hdl32': 32,
        'vlp16': 16,
        'vlp32': 32,
        'pandar64': 64,
        'os1_64': 64,
        'os1_128': 128,
    }


def test_points_lie_in_the_boxes_of_their_objects():
    inside = total = 0
    kinds = set()
    for seed in range(12):
        scene = street(seed)
        sweep = scan(scene, LIDARS['hdl64'], ego_pose(street_plan(seed)), seed)
        for index, box_of in enumerate(sweep.boxes):
            mine = sweep.points[sweep.instance_ids == index, :3] - box_of[:3]
            cos, sin = np.cos(box_of[6]), np.sin(box_of[6])
            local = np.stack(
                [cos * mine[:, 0] + sin * mine[:, 1], cos * mine[:, 1] - sin * mine[:, 0]], 1
            )
            half = box_of[3:5] / 2 + 0.1
            inside += int((np.abs(local) < half).all(axis=1).sum())
            total += len(mine)
            if len(mine) > 5 and scene.objects['label'][index] >= 0:
                kinds.add(CLASSES[scene.objects['label'][index]])
    assert kinds == set(CLASSES)
    # Mirrors stick out.
    assert inside / total > 0.99


def test_vehicles_do_not_overlap():
    for seed in range(20):
        objects = street(seed).objects
        vehicles = objects[objects['label'] == 0]
        position = vehicles['position'][:, :2]
        apart = np.linalg.norm(position[:, None] - position, axis=2)
        # Half the width of both at least, whatever their headings.
        least = (vehicles['size'][:, None, 1] + vehicles['size'][:, 1]) / 2
        np.fill_diagonal(apart, np.inf)
        assert (apart > least * 0.95).all()


def test_ego_drive_hits_nothing():
    for seed in range(10):
        scene, plan = street(seed), street_plan(seed)
        for seconds in np.arange(0, 3.1, 0.5):
            x, y, yaw = ego_pose(plan, 8 * seconds)
            for each in scene.at(seconds).objects:
                apart = each['position'][:2] - (x, y)
                cos, sin = np.cos(yaw), np.sin(yaw)
                ahead, left = cos * apart[0] + sin * apart[1], cos * apart[1] - sin * apart[0]
                reach = np.abs(np.cos(each['yaw'] - yaw)) * each['size'][0] / 2
                beside = abs(ahead) > 2 + reach or abs(left) > 1.0
                assert beside, f'seed {seed} at {seconds} s: {each}'


def test_drivable_is_the_road():
    for seed in range(5):
        scene, plan = street(seed), street_plan(seed)
        x, y, _ = ego_pose(plan, 3.0)
        row, col = scene.terrain.at(np.array([x, x]), np.array([y, y + 60]))
        assert scene.terrain.drivable[row[0], col[0]]
        # A car park is drivable as well.
        most = 1.0 if plan.left.open or plan.right.open else 0.8
        assert 0.05 < scene.terrain.drivable.mean() < most
