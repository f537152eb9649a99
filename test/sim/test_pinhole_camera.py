# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Images of simulated scenes: every pixel by exact geometry, and the effect of light."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline

from tiny_bev_ros.models.camera.geometry import make_camera
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan
from tiny_bev_ros.sim.sensors.half_spaces import part_planes
from tiny_bev_ros.sim.sensors.lidar import sensor_pose
from tiny_bev_ros.sim.sensors.pinhole_camera import Light, PinholeCamera, render, trace_pixels
from tiny_bev_ros.sim.sensors.pixel_rays import GROUND, NOTHING
from tiny_bev_ros.sim.world.parts import GLASS, Material, PartList, Pose, attitudes, rotation
from tiny_bev_ros.sim.world.scene import empty
from tiny_bev_ros.sim.world.terrain import CELL, Terrain, flat

EYE = PinholeCamera()
LEVEL = flat()
HERE, AHEAD = np.array([0.0, 0.0, 1.4]), np.eye(3)
SOLID = Material(0.5)
RED, GREY = (0.9, 0.05, 0.05), (0.3, 0.3, 0.3)
OPTICAL = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def scene_of(*things, terrain=LEVEL):
    parts = PartList()
    for add in things:
        add(parts)
    return replace(empty(terrain), parts=parts.array())


def box(position, size, pose=None, material=SOLID, **options):
    return lambda parts: parts.stand(pose or Pose(0, 0)).box(position, size, material, **options)


def camera_of(origin, turn, camera=EYE):
    """Returns the camera of `models`, in the frame of the world."""
    mount = np.eye(4)
    mount[:3, :3] = OPTICAL @ turn.T
    mount[:3, 3] = -mount[:3, :3] @ origin
    (right, down), focal = camera.centre, camera.focal
    return make_camera([focal, 0, right, 0, focal, down, 0, 0, 1], mount.tolist(), camera.size)


def pixels():
    """(H,W,2) columns and rows."""
    return np.stack(np.meshgrid(np.arange(EYE.size[0]), np.arange(EYE.size[1])), axis=2)


def taken(scene, light=None, colour=RED, seed=0):
    """Renders an image in which all parts have one colour."""
    colours = np.tile(np.float32(colour), (len(scene.parts), 1))
    ground = np.tile(np.float32(GREY), (*scene.terrain.heights.shape, 1))
    return render(scene, (colours, ground), EYE, HERE, AHEAD, light, seed)


@pytest.mark.parametrize(
    'turn',
    [AHEAD, rotation(0.3, -0.1, 0.05), rotation(-0.2, 0.05, -0.4)],
    ids=['ahead', 'leaning', 'rolling'],
)
def test_a_red_box_fills_the_pixels_in_which_a_camera_projects_it(turn):
    position, size = np.array([10.0, 0.3, 1.5]), np.array([4.0, 2.0, 2.9])
    scene = scene_of(box(tuple(position), tuple(size)))
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    seen, depth = camera_of(HERE, turn).project(torch.from_numpy(position + signs * size / 2))
    assert (depth > 0).all()
    expected = np.zeros(EYE.size[::-1], np.bool_)
    for axis in range(3):
        for sign in (-1, 1):
            face = np.nonzero(signs[:, axis] == sign)[0][[0, 1, 3, 2]]
            inside = Outline(seen.numpy()[face]).contains_points(pixels().reshape(-1, 2))
            expected |= inside.reshape(expected.shape)
    assert expected.sum() > 800
    np.testing.assert_array_equal(trace_pixels(scene, EYE, HERE, turn).hit == 0, expected)
    colours = (np.float32([RED]), np.tile(np.float32(GREY), (*LEVEL.heights.shape, 1)))
    image = render(scene, colours, EYE, HERE, turn).astype(int)
    red = image[..., 0] > 2 * image[..., 1:].max(axis=2)
    np.testing.assert_array_equal(red, expected)


def test_depths_are_where_things_lie():
    scene = scene_of(box((10, 0, 1.5), (4, 2, 3)))
    view = trace_pixels(scene, EYE, HERE, AHEAD)
    positions = camera_of(HERE, AHEAD).unproject(
        torch.from_numpy(pixels()).double(), torch.from_numpy(view.depth).double()
    )
    np.testing.assert_allclose(positions[torch.from_numpy(view.hit == 0)][:, 0], 8.0, atol=1e-4)
    ground = positions[torch.from_numpy((view.hit == GROUND) & (view.depth < 60))]
    assert len(ground) > 5_000
    np.testing.assert_allclose(ground[:, 2], 0.0, atol=1e-3)
    front = view.normals[view.hit == 0]
    np.testing.assert_allclose(front, np.broadcast_to((-1, 0, 0), front.shape), atol=1e-6)
    assert (view.normals[view.hit != 0] == 0).all()


def test_ground_below_the_horizon_and_sky_above():
    view = trace_pixels(scene_of(), EYE, HERE, AHEAD)
    assert (view.hit[:41] == NOTHING).all()
    assert np.isinf(view.depth[:41]).all()
    # 1.4 m below the camera, in row 48 and lower nearer than 150 m.
    assert (view.hit[48:] == GROUND).all()
    rows = np.arange(48, 96)
    np.testing.assert_allclose(view.depth[48:, 10], 1.4 * 128 / (rows - 40), rtol=1e-4)


THINGS = {
    'turned': box((0, 0, 1), (4, 2, 2), Pose(8, 3, yaw=0.5)),
    'leaning': box((0, 0, 1), (4, 2, 2), Pose(9, -2, yaw=-2.0, pitch=0.2, roll=-0.1)),
    'wall from behind to far ahead': box((0, 6, 1), (80, 0.5, 2)),
    'frustum': box((6, 0, 1), (3, 2, 2), taper=(0.3, 0.5), shift=-0.8),
    'tube': lambda parts: parts.tube((7, 1, 1.5), (0.8, 0.8, 3), SOLID, taper=0.5),
    'ball': lambda parts: parts.ball((7, 2, 1), (1.6, 2.4, 1.0), SOLID, yaw=1.0),
    'behind': box((-5, 0, 1), (4, 2, 2)),
}


@pytest.mark.parametrize('name', THINGS)
@pytest.mark.parametrize('turn', [AHEAD, rotation(0.4, 0.1, -0.1)], ids=['level', 'leaning'])
def test_rays_meet_what_a_slow_check_says(name, turn):
    scene = scene_of(THINGS[name])
    parts = scene.parts
    planes, counts = part_planes(
        parts['kind'],
        (parts['position'] - HERE).astype(np.float32),
        attitudes(parts['angles'])[1],
        parts['size'],
        parts['taper'],
        parts['shift'],
    )
    normals, offsets = planes[0, : counts[0], :3].astype(float), planes[0, : counts[0], 3]
    rays = EYE.rays() @ turn.T
    toward = rays @ normals.T
    with np.errstate(divide='ignore'):
        at = offsets / toward
    near = np.where(toward < 0, at, -np.inf).max(axis=2)
    far = np.where(toward > 0, at, np.inf).min(axis=2)
    ground = np.where(rays[..., 2] < 0, -HERE[2] / rays[..., 2].clip(max=-1e-9), np.inf)
    met = (near < far) & (near > 0.1) & (near < ground)
    assert met.any() == (name != 'behind')
    view = trace_pixels(scene, EYE, HERE, turn)
    assert ((view.hit == 0) != met).sum() <= 2  # on an edge, by rounding
    both = (view.hit == 0) & met
    np.testing.assert_allclose(view.depth[both], near[both], rtol=1e-4)
    incidence = (view.normals[both] * EYE.rays()[both]).sum(axis=1)
    assert (incidence < 0).all()


def test_near_things_hide_far_ones():
    near, far = box((6, 0, 1), (1, 2, 2)), box((12, 1, 2), (1, 4, 4))
    both, alone = (
        trace_pixels(scene_of(far, near), EYE, HERE, AHEAD),
        trace_pixels(scene_of(near), EYE, HERE, AHEAD),
    )
    np.testing.assert_array_equal(both.hit == 1, alone.hit == 0)
    assert (both.hit == 0).sum() > 300


def test_a_bank_hides_what_is_behind_it():
    size = int(160 / CELL)
    x = -80 + (np.arange(size) + 0.5) * CELL
    # Up from 10 m on, down again from 14 m on.
    profile = np.clip(2.4 - 0.8 * np.abs(x - 13), 0, 2.4).astype(np.float32)
    heights = np.tile(profile, (size, 1))
    terrain = Terrain((-80, -80), heights, heights, heights < 1, heights > 1)
    low, high = (scene_of(box((20, 0, z), (1, 2, 1)), terrain=terrain) for z in (0.5, 4.5))
    assert not (trace_pixels(low, EYE, HERE, AHEAD).hit == 0).any()
    assert (trace_pixels(high, EYE, HERE, AHEAD).hit == 0).any()
    # A level ray, 1.4 m high.
    np.testing.assert_allclose(
        trace_pixels(low, EYE, HERE, AHEAD).depth[40], 10 + 1.4 / 0.8, atol=0.01
    )


def test_leaves_let_some_rays_through_and_glass_none():
    wall = box((9, 0, 2), (1, 40, 8))

    def views(*kinds):
        panes = (box((5, 0, 1.4), (0.1, 4, 2), material=kind) for kind in kinds)
        return [trace_pixels(scene_of(pane, wall), EYE, HERE, AHEAD) for pane in panes]

    leaves, glass = Material(0.5, density=0.3), Material(0.5, density=0.3, surface=GLASS)
    solid, porous, clear = views(SOLID, leaves, glass)
    pane = solid.hit == 0
    assert (porous.hit[pane] == 0).mean() == pytest.approx(0.3, abs=0.03)
    behind = trace_pixels(scene_of(wall), EYE, HERE, AHEAD).depth
    through = porous.hit != 0
    np.testing.assert_array_equal(porous.depth[through], behind[through])
    np.testing.assert_array_equal(clear.depth, solid.depth)


def test_the_same_seed_gives_the_same_picture():
    scene = scene_of(box((8, 0, 1), (1, 2, 2), material=Material(0.5, density=0.5)))
    one, again, other = taken(scene, seed=1), taken(scene, seed=1), taken(scene, seed=2)
    assert one.dtype == np.uint8
    assert one.shape == (96, 256, 3)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_face_in_the_sun_is_brighter():
    scene = scene_of(box((0, 0, 1), (2, 2, 2), Pose(6, 0, yaw=np.pi / 4)))
    left_lit, right_lit = (taken(scene, Light(azimuth=a, elevation=0.3)) for a in (2.4, -2.4))
    left, right = (slice(50, 60), slice(110, 120)), (slice(50, 60), slice(135, 145))
    for lit, shaded in ((left, right), (right, left)):
        image = left_lit if lit is left else right_lit
        assert image[lit][..., 0].mean() > 1.3 * image[shaded][..., 0].mean()


def test_the_sky_is_blue_and_the_ground_as_it_is_painted():
    image = taken(scene_of()).astype(int)
    assert (image[:10, :, 2] > image[:10, :, 0] + 20).all()
    assert np.ptp(image[90:].mean(axis=(0, 1))) < 3
    assert image[90:].mean() == pytest.approx(255 * 0.3 * (0.5 + 0.55 * np.sin(0.8)), abs=5)


def test_nothing_is_seen_in_the_dark_and_little_in_glare():
    scene = scene_of(box((8, 0, 1), (1, 2, 2)))
    dark = taken(scene, Light(day=0.0))
    assert dark.max() < 20
    day, glare = taken(scene), taken(scene, Light(glare=1.0))
    assert (glare.astype(int) >= day).mean() > 0.99
    assert (glare == 255).all(axis=2).mean() > 0.02


@pytest.mark.parametrize('seed', range(3))
def test_camera_and_lidar_see_the_same_world(seed):
    scene, mounting = street(seed), Mounting(1.8, 0.01, -0.02)
    pose = ego_pose(street_plan(seed))
    sweep = scan(scene, replace(LIDARS['hdl64'], noise=0.0), pose, seed, mounting)
    origin, turn = sensor_pose(scene, pose, mounting)
    view = trace_pixels(scene, EYE, origin, turn)
    camera = camera_of(np.zeros(3), np.eye(3))
    points = torch.from_numpy(sweep.points[:, :3])
    inside = camera.visible(points) & (points[:, 0] < 50)
    at, depth = camera.project(points[inside])
    col, row = at.round().long().numpy().T
    of_parts = scene.parts['instance_id'][view.hit.clip(0)]
    instance_ids = np.where(view.hit >= 0, of_parts, -2)[row, col]
    # Not on edges, where a pixel is wide, nor where glass lets a ray through.
    assert (instance_ids == sweep.instance_ids[inside.numpy()]).mean() > 0.85
    near = np.abs(view.depth[row, col] - depth.numpy()) < 0.05 * depth.numpy()
    assert near.mean() > 0.8
