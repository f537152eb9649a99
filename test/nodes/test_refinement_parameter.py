# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameter detection.refine_boxes: the node's boxes are those of Detector, with it or without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_bench import SMALL, Bench, until
from second_stages import save_with_second_stage
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.nodes.model_factory import make_cloud_options
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

NETWORK = {
    'weights': 'none',
    'pfn.out_channels': 8,
    'backbone.in_channels': 8,
    'backbone.mid_channels': 8,
    'backbone.out_channels': 8,
    'detection.min_score.vehicle': 0.0,
    'detection.min_score.pedestrian': 0.0,
    'detection.min_score.cyclist': 0.0,
}


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_second_stage(tmp_path_factory.mktemp('weights') / 'weights.safetensors')


@pytest.fixture(params=[True, False])
def bench(request: pytest.FixtureRequest, weights: Path) -> Iterator[Bench]:
    files = {f'{part}.checkpoint': str(weights) for part in ('pfn', 'backbone', 'heads')}
    values = SMALL | NETWORK | files | {'detection.refine_boxes': request.param}
    made = Bench(PipelineNode, 40 + request.param, **values)
    yield made
    made.close()


def test_boxes_of_the_node_are_those_of_the_detector(bench: Bench, weights: Path):
    boxes: list[Any] = []
    subscription = bench.other.create_subscription(
        Float32MultiArray, 'detection_boxes', boxes.append, 10
    )
    assert bench.node.start(), bench.node.fault
    refine = bench.node.values['detection.refine_boxes']
    loaded = bench.node.models.loaded
    assert loaded is not None and (loaded.refinement is not None) == refine
    bench.frame(1)
    bench.send(1)
    until(lambda: bool(boxes))
    found = decode_detection_boxes(boxes[0])
    cloud = decode_cloud(bench.message(1), make_cloud_options(bench.node.values))
    detector = Detector(weights, (0, 16), (-8, 8), device='cpu', refine_boxes=refine)
    wanted = detector(cloud.points, 0.0)
    assert len(wanted.boxes) > 3
    assert np.array_equal(found.boxes, wanted.boxes)
    assert np.array_equal(found.scores, wanted.scores)
    stages = bench.node._times.stages_ms
    assert ('refinement' in stages) == refine
    assert any('refinement' in topic for topic in bench.node._debug.publishers) == refine
    bench.other.destroy_subscription(subscription)


def test_weights_without_a_second_stage_need_no_setting():
    made = Bench(PipelineNode, 43, **SMALL)
    try:
        assert made.node.values['detection.refine_boxes']
        assert made.node.start(), made.node.fault
        assert made.node.models.loaded.refinement is None
        assert made.node.models.fallback.runner.refinement is None
    finally:
        made.close()


def test_a_file_that_is_set_at_run_time_brings_its_second_stage(bench: Bench, tmp_path: Path):
    assert bench.node.start(), bench.node.fault
    before = bench.node.models.fallback.runner.refinement
    other = save_with_second_stage(tmp_path / 'other.safetensors', seed=1)
    assert bench.change(heads__checkpoint=str(other)) == ''
    after = bench.node.models.fallback.runner.refinement
    if bench.node.values['detection.refine_boxes']:
        assert after is not None and after is not before
        assert bench.change(backbone__sparsity='never') == ''
        assert bench.node.models.fallback.runner.refinement is after
    else:
        assert after is None
