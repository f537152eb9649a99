# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Clouds and images to fused features and objects, in one process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fusions import lively_fusion, save_fusion
from nav_msgs.msg import OccupancyGrid
from ros_graph import RosGraph
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.messages.camera_info import decode_camera_info
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import decode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models import CameraEncoder, seeded
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.models.heads.head_registry import build_heads

pytestmark = pytest.mark.dds

SMALL = {
    'grid__x_range': '[0.0, 16.0]',
    'grid__y_range': '[-8.0, 8.0]',
    'grid__z_range': '[-3.0, 1.0]',
    'grid__resolution': 0.5,
}
GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 0.5).strided(2)
POSES = {
    'front': [0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5],
    'rig/left': [0.0, 0.4, -0.1, -0.7071068, 0.0, 0.0, 0.7071068],
}
INFO = CameraInfo(
    width=120, height=40, k=[70.0, 0.0, 60.5, 0.0, 71.0, 17.25, 0.0, 0.0, 1.0],
    d=[-0.1, 0.02, 0.001, 0.0, 0.0], distortion_model='plumb_bob',
)  # fmt: skip


def cloud() -> np.ndarray:
    points = np.random.default_rng(1).uniform([0, -8, -3, 0], [16, 8, 1, 1], (400, 4))
    return points.astype(np.float32)


def pixels(name: str) -> np.ndarray:
    return np.random.default_rng(len(name)).integers(0, 256, (40, 120, 3)).astype(np.uint8)


def expected(bev: np.ndarray, *names: str) -> torch.Tensor:
    """Returns the stages' fusion of a map with the cameras that are there."""
    with seeded(0):
        encoder = CameraEncoder('tiny', 64).eval()
    stage = CameraRunner(encoder, torch.device('cpu'))
    views = []
    for name in names:
        camera = replace(decode_camera_info(INFO), extrinsics=extrinsics_from_pose(POSES[name]))
        views.append(stage(pixels(name), camera))
    fusion = FusionRunner(lively_fusion(128, 64), torch.device('cpu'))
    return fusion(torch.from_numpy(bev), GRID, views)


def close(array: np.ndarray, wanted: torch.Tensor) -> bool:
    return bool(np.abs(array - wanted.numpy()).max() < 1e-3)


def test_heads_see_what_cameras_add_and_none_of_them_is_needed(graph: RosGraph):
    process = graph.start(
        'pipeline_node',
        cameras=f'[{", ".join(POSES)}]',
        sync__timeout_ms=200.0,
        fusion__checkpoint=save_fusion(lively_fusion(128, 64), graph.folder / 'fusion.pt'),
        **{f'extrinsics__{name}': pose for name, pose in POSES.items()},
        **SMALL,
    )
    fused = graph.collect(Float32MultiArray, 'fused_features')
    features = graph.collect(Float32MultiArray, 'bev_features')
    areas = graph.collect(OccupancyGrid, 'drivable_area')
    clouds = graph.publisher(PointCloud2, 'points')
    infos = {name: graph.publisher(CameraInfo, f'{name}/camera_info') for name in POSES}
    images = {name: graph.publisher(Image, f'{name}/image', reliable=False) for name in POSES}
    for name in POSES:
        infos[name].publish(INFO)
    graph.spin_for(0.3)
    wrong = encode_image(pixels('front')[:20], (3, 0), 'cam')
    bayer = encode_image(pixels('rig/left'), (3, 0), 'cam')
    bayer.encoding = 'bayer_rggb8'
    for second, there in enumerate((tuple(POSES), ('front',), (), tuple(POSES)), 1):
        for name in there:
            images[name].publish(encode_image(pixels(name), (second, 10**7), 'cam'))
        if second == 3:
            images['front'].publish(wrong)
            images['rig/left'].publish(bayer)
        graph.spin_for(0.3)
        clouds.publish(encode_cloud(cloud(), (second, 0), 'lidar'))
        graph.spin_until(lambda second=second: len(fused) == len(features) == len(areas) == second)
        bev, found = decode_tensor(features[-1]), decode_tensor(fused[-1])
        assert found.labels == bev.labels
        assert found.labels == TensorLabels((second, 0), 'lidar', Axis(-8.0, 1.0), Axis(0.0, 1.0))
        wanted = expected(bev.array, *there)
        assert close(found.array, wanted)
        assert close(bev.array, wanted) == (not there)
        with seeded(0), torch.no_grad():
            heads = build_heads(('detection', 'drivable'), 128).eval()
            free = (1 - heads['drivable'](wanted)[0, 0].sigmoid().numpy()) * 100
        values = np.array(areas[-1].data).reshape(GRID.shape)
        assert (values >= 0).mean() > 0.9  # and few are far from any point
        np.testing.assert_allclose(values, np.where(values < 0, -1, free), atol=0.52)
    assert process.stop() == 0
    log = process.log.read_text()
    assert 'received 4, published 4, dropped 0;' in log
    assert 'camera front: received 4, used 3, dropped 1 (1 rejected); missing in 1 frames' in log
    # Messages that a map took but could not use are not counted as used.
    left = 'camera rig/left: received 3, used 2, dropped 1 (1 rejected); missing in 2 frames'
    assert left in log, log
    assert "rig/left missing (2 so far): encoding is 'bayer_rggb8'" in log
    assert 'image size is 120 x 20 pixels; expected 120 x 40' in log
    assert 'Traceback' not in log
