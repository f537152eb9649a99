# SPDX-License-Identifier: Apache-2.0
"""Pictures of simulated scenes: where things are seen, what hides what, and which colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tiny_bev_ros.models import make_camera
from tiny_bev_ros.sim import LIDARS, ego_pose, plan_of, scan, street
from tiny_bev_ros.sim.colours import ASPHALT, colours_of, ground_colours
from tiny_bev_ros.sim.parts import GLASS, PAINT, Material, PartList, Pose
from tiny_bev_ros.sim.photo import Eye, photograph
from tiny_bev_ros.sim.scene import Scene, empty
from tiny_bev_ros.sim.terrain import flat

EYE = Eye((160, 80), 80.0, (79.5, 39.5))
AT = np.array([0.0, 0.0, 1.5])
LEVEL = np.eye(3)
RED, BLUE = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]


def scene_of(*boxes, surface=PAINT):
    """Boxes of place and size on a level road."""
    parts = PartList()
    parts.stand(Pose(0, 0))
    for place, size in boxes:
        parts.box(place, size, Material(0.5, surface=surface))
    return dataclasses.replace(empty(flat()), parts=parts.array())


def picture(scene: Scene, colours, **options):
    both = (np.array(colours, np.float32).reshape(-1, 3), ground_colours(scene))
    return photograph(scene, both, EYE, AT, LEVEL, **options).astype(int)


def camera():
    mount = [[0, -1, 0, 0], [0, 0, -1, 1.5], [1, 0, 0, 0], [0, 0, 0, 1]]
    k = [EYE.focal, 0, EYE.centre[0], 0, EYE.focal, EYE.centre[1], 0, 0, 1]
    return make_camera(k, mount, EYE.size)


def is_red(image):
    return (image[..., 0] > 2 * image[..., 1] + 40) & (image[..., 0] > 2 * image[..., 2] + 40)


def test_a_box_is_seen_where_a_camera_projects_it():
    image = picture(scene_of(((10, 1, 1.5), (0.02, 2, 1))), [RED])
    corners = torch.tensor([[10.0, 2, 2], [10.0, 0, 1]])  # upper left, lower right
    (left, top), (right, bottom) = camera().project(corners)[0].tolist()
    rows, cols = np.nonzero(is_red(image))
    assert (rows.min(), cols.min()) == pytest.approx((top, left), abs=1)
    assert (rows.max(), cols.max()) == pytest.approx((bottom, right), abs=1)
    inside = is_red(image)[rows.min() + 1 : rows.max(), cols.min() + 1 : cols.max()]
    assert inside.all()


def test_what_is_nearer_hides_what_is_behind():
    near, far = ((6, 0, 1), (0.2, 1, 2)), ((12, 0, 1), (0.2, 6, 2))
    image = picture(scene_of(far, near), [RED, BLUE])
    middle = image[45, 79]
    assert middle[2] > 150 > middle[0] + 60
    assert is_red(image)[45, [63, 96]].all()


def test_sky_above_and_road_below():
    image = picture(scene_of(((100, 50, 1), (1, 1, 1))), [RED])
    assert (image[:20, :, 2] > image[:20, :, 0] + 20).all()
    road = image[-10:].reshape(-1, 3).mean(axis=0) / 255
    assert road == pytest.approx(0.95 * np.array(ASPHALT), abs=0.06)


def test_glass_hides_what_is_behind_from_a_camera():
    thin = Material(0.1, density=0.2, surface=GLASS)
    parts = PartList()
    parts.stand(Pose(0, 0))
    parts.box((6, 0, 1.5), (0.1, 2, 2), thin)
    parts.box((8, 0, 1.5), (0.1, 2, 2), Material(0.5))
    scene = dataclasses.replace(empty(flat()), parts=parts.array())
    assert not is_red(picture(scene, [BLUE, RED]))[30:50, 70:90].any()


def test_in_the_dark_nothing_is_told():
    scene = scene_of(((10, 1, 1.5), (0.02, 2, 1)))
    assert picture(scene, [RED], light=0.02).max() < 30


def test_the_same_seed_gives_the_same_picture():
    scene = street(3)
    colours = (colours_of(scene, 3, np.zeros(len(scene.objects), bool)), ground_colours(scene))
    x, y, yaw = ego_pose(plan_of(3))
    at = np.array([x, y, scene.terrain.height(x, y) + 1.5])
    one, same, other = (
        photograph(scene, colours, EYE, at, LEVEL, seed=seed) for seed in (1, 1, 2)
    )
    assert yaw == pytest.approx(0, abs=0.2)
    assert (one == same).all()
    assert (one != other).any()


def test_only_the_paint_of_marked_vehicles_changes():
    scene = street(0)
    vehicles = scene.objects['label'] == 0
    marked = vehicles & (np.arange(len(vehicles)) % 2 == 0)
    plain = colours_of(scene, 0, np.zeros_like(marked))
    warning = colours_of(scene, 0, marked)
    changed = (plain != warning).any(axis=1)
    parts = scene.parts
    expected = (parts['surface'] == PAINT) & (parts['owner'] >= 0) & marked[parts['owner']]
    assert expected.sum() > 20
    assert (changed == expected).all()
    red, green, blue = warning[expected].T
    assert (red > 1.5 * green).all()
    assert (green > 5 * blue).all()
    # No other vehicle looks like that.
    others = (parts['surface'] == PAINT) & ~expected
    assert not ((plain[others, 0] > 1.5 * plain[others, 1]) & (plain[others, 1] > 0.3)).any()


def test_colours_are_nothing_to_a_lidar():
    scene = street(1)
    painted = dataclasses.replace(scene, parts=scene.parts.copy())
    painted.parts['surface'] = PAINT
    pose = ego_pose(plan_of(1))
    one, other = (scan(each, LIDARS['vlp16'], pose, 5) for each in (scene, painted))
    assert (one.points == other.points).all()
