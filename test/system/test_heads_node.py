# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Objects and drivable area through real processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nav_msgs.msg import OccupancyGrid
from ros_graph import RosGraph
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray
from visualization_msgs.msg import MarkerArray

from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models import PillarFeatureNet, TinyBEVBackbone, scatter, seeded
from tiny_bev_ros.models.heads.detection_head import decode
from tiny_bev_ros.models.heads.head_registry import build_heads
from tiny_bev_ros.models.observed_ground import box_bottom_height, road_height

SMALL = {
    'grid__x_range': '[0.0, 16.0]',
    'grid__y_range': '[-8.0, 8.0]',
    'grid__z_range': '[-3.0, 1.0]',
    'grid__resolution': 0.5,
}
GRID = BevGrid((0, 16), (-8, 8), (-3, 1), 0.5)
# Weights that take all of a map for road.
SEED = 1
# Untrained heads have low scores: all detections are kept.
SCORES = {f'detection__min_score__{name}': 0.0 for name in ('vehicle', 'pedestrian', 'cyclist')}
SCORES |= {'seed': SEED}


def cloud_of(count: int) -> np.ndarray:
    points = np.random.default_rng(1).uniform([0, -8, -3, 0], [16, 8, 1, 1], (count, 4))
    return points.astype(np.float32)


def expected(points: np.ndarray):
    """Returns detections and drivable area of a cloud by plain PyTorch."""
    with seeded(SEED):
        pfn = PillarFeatureNet().eval()
    with seeded(SEED):
        backbone = TinyBEVBackbone().eval()
    with seeded(SEED):
        heads = build_heads(('detection', 'drivable'), 128).eval()
    with torch.no_grad():
        features = backbone(scatter(*pfn(torch.from_numpy(points), GRID), GRID.shape))
        found = decode(heads['detection'](features), GRID.strided(2), (0.0,) * 3)[0]
        return found, heads['drivable'](features)[0, 0].sigmoid().numpy()


@pytest.mark.dds
def test_both_nodes_give_what_pytorch_gives(graph: RosGraph):
    """pipeline_node does it by itself, and its features let heads_node do the same."""
    graph.start('pipeline_node', **SMALL, **SCORES)
    graph.start(
        'heads_node',
        *('-r', 'detection_boxes:=other_boxes', '-r', 'drivable_area:=other_area'),
        *('-r', 'detection_markers:=other_markers'),
        **SCORES,
    )
    boxes = [graph.collect(Float32MultiArray, name) for name in ('detection_boxes', 'other_boxes')]
    areas = [graph.collect(OccupancyGrid, name) for name in ('drivable_area', 'other_area')]
    markers = graph.collect(MarkerArray, 'detection_markers')
    clouds = graph.publisher(PointCloud2, 'points')
    graph.spin_until(lambda: graph.node.count_publishers('other_boxes') == 1)
    graph.spin_until(lambda: graph.node.count_subscribers('bev_features') == 1)
    points = cloud_of(800)
    points = points[points[:, 0] < 8]  # of what lies further nothing is known
    everything = [*boxes, *areas, markers]
    for _ in range(5):
        clouds.publish(encode_cloud(points, (1700000000, 5), 'velo'))
        graph.spin_for(2.0)
        if all(everything):
            break
    assert all(everything), graph.logs()
    found, drivable = expected(points)
    assert len(found.boxes) > 3
    for messages in boxes:
        read = decode_detection_boxes(messages[-1])
        assert (read.labels.stamp, read.labels.frame_id) == ((1700000000, 5), 'velo')
        np.testing.assert_allclose(read.scores, found.scores, atol=1e-4)
        np.testing.assert_allclose(read.boxes, found.boxes, atol=2e-3)
    own, other = (messages[-1] for messages in areas)
    for area in (own, other):
        assert area.header.frame_id == 'velo'
        assert (area.info.width, area.info.height, area.info.resolution) == (16, 16, 1.0)
    unknown = np.zeros((16, 16), bool)
    unknown[:, 8 + 2 :] = True
    free = (1 - drivable) * 100
    np.testing.assert_allclose(np.array(other.data).reshape(16, 16), free, atol=0.51)
    values = np.array(own.data).reshape(16, 16)
    np.testing.assert_allclose(values, np.where(unknown, -1, free), atol=0.51)
    # The ground: below the points on road, and below the objects.
    height = road_height(points, torch.from_numpy(drivable), GRID.strided(2))
    assert own.info.origin.position.z == pytest.approx(height, abs=0.2)
    bottom = box_bottom_height(found.boxes)
    assert other.info.origin.position.z == pytest.approx(bottom, abs=0.01)
    assert len(markers[-1].markers) == 1 + 2 * len(found.boxes)
    # A signal ends it; what it showed ends with it.
    assert graph.processes.pop('pipeline_node').stop() == 0
    graph.spin_until(lambda: len(markers[-1].markers) == 1 and set(areas[0][-1].data) == {-1})


@pytest.mark.dds
def test_features_that_do_not_fit_are_refused_and_the_next_ones_worked_on(graph: RosGraph):
    from tiny_bev_ros.messages.tensor import encode_tensor

    graph.start('heads_node', **SCORES)
    boxes = graph.collect(Float32MultiArray, 'detection_boxes')
    features = graph.publisher(Float32MultiArray, 'bev_features')
    axis = Axis(0.0, 1.0)
    labels = TensorLabels((1, 0), 'lidar', axis, axis)
    right = np.random.default_rng(0).random((1, 128, 6, 8), np.float32)
    for tensor, said, reason in (
        (right[:, :64], labels, 'size is 64 channels; expected 128'),
        (right, TensorLabels((1, 0), 'lidar'), 'axes are None and None; expected both'),
    ):
        features.publish(encode_tensor(tensor, said))
        graph.spin_until(lambda reason=reason: reason in graph.logs())
    features.publish(encode_tensor(right, labels))
    graph.spin_until(lambda: len(boxes) == 1)
