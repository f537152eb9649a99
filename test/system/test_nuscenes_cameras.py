# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Six cameras around a real vehicle: projection of LiDAR points, and a fusion node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusions import lively_fusion, save_fusion
from ros_graph import RosGraph
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import decode_tensor
from tiny_bev_ros.models import Camera, make_camera
from tiny_bev_ros.models.camera.extrinsics import extrinsics_from_pose
from tiny_bev_ros.training.labelled_frame import in_box

pil_image = pytest.importorskip('PIL.Image')

SIZE = (1600, 900)
FEWEST = 20


@pytest.fixture(scope='module')
def sample(data_dir: Path) -> tuple[Path, dict[str, Any]]:
    folder = data_dir / 'nuscenes_mini_sample'
    (told,) = json.loads((folder / 'info_derived.json').read_text())['data_list']
    return folder, told


def points_of(sample: tuple[Path, dict[str, Any]]) -> np.ndarray:
    folder, told = sample
    points = np.fromfile(folder / told['lidar_points']['lidar_path'], np.float32).reshape(-1, 5)
    return points[:, :4].copy()


def camera_of(image: dict[str, Any]) -> Camera:
    intrinsics = np.array(image['cam2img']).ravel().tolist()
    mount = np.array(image['lidar2cam'])
    turn, _, other = np.linalg.svd(mount[:3, :3])  # which is rounded
    mount[:3, :3] = turn @ other
    return make_camera(intrinsics, mount.tolist(), SIZE)


def pose_of(camera: Camera) -> list[float]:
    """Returns x, y, z, qx, qy, qz, qw of a camera in the frame of the points."""
    turn = camera.extrinsics[:3, :3].T.numpy()
    place = -turn @ camera.extrinsics[:3, 3].numpy()
    # Eigenvector of a symmetric matrix, which works for every rotation.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    return [*place.tolist(), *np.linalg.eigh(symmetric)[1][:, -1].tolist()]


def test_points_of_objects_fall_into_their_rectangles(sample):
    """Checks each object that is labelled in the cloud and in an image."""
    points, (_, told) = points_of(sample), sample
    checked = 0
    for name, labels in told['cam_instances'].items():
        camera = camera_of(told['images'][name])
        for label in labels:
            in_camera = torch.tensor([label['center_2d']], dtype=torch.float64)
            depth = torch.tensor([label['depth']], dtype=torch.float64)
            middle = camera.unproject(in_camera, depth)[0].numpy()
            boxes = [np.array(each['bbox_3d']) for each in told['instances']]
            box = min(boxes, key=lambda each: np.linalg.norm(each[:3] - middle))
            assert np.linalg.norm(box[:3] - middle) < 0.15
            mine = points[in_box(box, points)]
            if len(mine) < FEWEST:
                continue
            pixels, _ = camera.project(torch.from_numpy(mine[:, :3].copy()))
            left, top, right, bottom = label['bbox']
            # Objects at the edge are labelled as far as they are in the image.
            seen = camera.visible(torch.from_numpy(mine[:, :3].copy())).numpy()
            inside = (
                (pixels[:, 0] > left - 5) & (pixels[:, 0] < right + 5)
                & (pixels[:, 1] > top - 5) & (pixels[:, 1] < bottom + 5)
            ).numpy()  # fmt: skip
            assert inside[seen].mean() > 0.95, (name, label)
            checked += 1
    assert checked >= 8


def test_poses_lead_back_to_the_calibration(sample):
    for image in sample[1]['images'].values():
        camera = camera_of(image)
        torch.testing.assert_close(
            extrinsics_from_pose(pose_of(camera)), camera.extrinsics, rtol=0, atol=1e-6
        )


@pytest.mark.dds
def test_a_node_looks_through_all_six(graph: RosGraph, sample):
    folder, told = sample
    names = {key.lower(): image for key, image in told['images'].items()}
    poses = {name: pose_of(camera_of(image)) for name, image in names.items()}
    process = graph.start(
        'pipeline_node',
        cameras=f'[{", ".join(names)}]',
        sync__timeout_ms=10000.0,
        camera__resize_width=400,
        grid__x_range='[-32.0, 32.0]',
        grid__y_range='[-32.0, 32.0]',
        grid__resolution=0.5,
        fusion__checkpoint=save_fusion(lively_fusion(128, 64), graph.folder / 'fusion.pt'),
        **{f'extrinsics__{name}': pose for name, pose in poses.items()},
    )
    fused = graph.collect(Float32MultiArray, 'fused_features')
    features = graph.collect(Float32MultiArray, 'bev_features')
    clouds = graph.publisher(PointCloud2, 'points')
    infos = {name: graph.publisher(CameraInfo, f'{name}/camera_info') for name in names}
    images = {name: graph.publisher(Image, f'{name}/image') for name in names}
    for name, image in names.items():
        k = np.array(image['cam2img']).ravel().tolist()
        infos[name].publish(CameraInfo(width=1600, height=900, k=k, distortion_model='plumb_bob'))
    graph.spin_for(0.5)
    for name, image in names.items():
        rgb = np.array(pil_image.open(folder / image['img_path']))
        images[name].publish(encode_image(rgb, stamp_of(image['timestamp']), name))
    clouds.publish(encode_cloud(points_of(sample), stamp_of(told['timestamp']), 'lidar'))
    graph.spin_until(lambda: len(fused) == len(features) == 1, 90.0)
    before, after = decode_tensor(features[0]), decode_tensor(fused[0])
    assert after.labels == before.labels
    changed = (before.array != after.array).any(axis=1)[0]
    # Six cameras cover all directions, except the ground close to the vehicle.
    assert changed.mean() > 0.95
    assert not changed[31:33, 31:33].any()
    assert process.stop() == 0
    log = process.log.read_text()
    for name in names:
        assert f'camera {name}: received 1, used 1, dropped 0; missing in 0 frames' in log


def stamp_of(seconds: float) -> tuple[int, int]:
    return int(seconds), round(seconds % 1 * 1e9)
