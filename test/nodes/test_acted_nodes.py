# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Every node on the acted CUDA device, by each of its names: lifecycle and results of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acted_machine import Machine
from fusions import lively_fusion, save_fusion
from nav_msgs.msg import OccupancyGrid
from node_bench import (
    NODES,
    ONE_CAMERA,
    SMALL,
    SUCCESS,
    Bench,
    K,
    process,
    until,
    values_of,
)
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.messages.camera_features import camera_labels
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.tensor import encode_tensor
from tiny_bev_ros.models import make_camera
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.debug_publisher import DebugPublisher
from tiny_bev_ros.nodes.fusion_node import FusionNode
from tiny_bev_ros.nodes.output_publisher import Subscribers
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.runtime.stats import FrameTimes

NAMES = ('auto', 'cuda', 'cuda:0')
CUDA = torch.device('cuda', 0)


@pytest.fixture
def bench(acted: Machine, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []
    weights = save_fusion(lively_fusion(128, 64), tmp_path / 'fusion.pt')

    def make(node_class: type[BevNode], **values: Any) -> Bench:
        defaults = {'sync.timeout_ms': 5000.0, 'fusion.checkpoint': weights} | ONE_CAMERA
        defaults |= SMALL | {f'detection.min_score.{name}': 0.0 for name in CLASSES}
        made.append(Bench(node_class, len(made), **(defaults | values)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def camera_of(made: Bench) -> Callable[[int], None]:
    """Returns a function that publishes features or an image of a camera with a stamp."""

    def publisher(kind: type, topic: str) -> Callable[[Any], None]:
        end = made.other.create_publisher(kind, f'front/{topic}', 1)

        def publish(message: Any) -> None:
            until(lambda: end.get_subscription_count() > 0)
            end.publish(message)

        return publish

    if isinstance(made.node, FusionNode):
        features = publisher(Float32MultiArray, 'camera_features')
        seen = np.random.default_rng(0).random((1, 64, 3, 5), np.float32)
        small = make_camera(
            [5.0, 0.0, 2.0, 0.0, 5.0, 1.0, 0.0, 0.0, 1.0], IDENTITY_EXTRINSICS, (5, 3)
        )
        return lambda seconds: features(
            encode_tensor(seen, camera_labels(small, (seconds, 0), 'cam'))
        )
    if not isinstance(made.node, PipelineNode):
        return lambda seconds: None
    info, image = publisher(CameraInfo, 'camera_info'), publisher(Image, 'image')
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)

    def publish(seconds: int) -> None:
        camera_info = CameraInfo(width=40, height=24, k=K)
        camera_info.header.stamp.sec = seconds
        info(camera_info)
        image(encode_image(pixels, (seconds, 0), 'cam'))

    return publish


def run_lifecycle(made: Bench, name: str, camera: Callable[[int], None]) -> np.ndarray:
    """Runs one lifecycle of the node on a device; returns the result of its only input."""
    assert made.change(device=name) == ''
    assert made.node.trigger_configure() == SUCCESS, made.node.fault
    assert made.node.trigger_activate() == SUCCESS
    # With each input: the result of the first may come before it can be received.
    made.before_input = camera
    result: np.ndarray = made.frame(1).copy()
    device = torch.device('cpu') if name == 'cpu' else CUDA
    assert made.node.models.fallback.config.device == device
    assert values_of(made.node)['device'] == str(device)
    assert values_of(made.node)['memory_fallback'] == 'none'
    assert made.node.trigger_deactivate() == SUCCESS
    assert made.node.trigger_cleanup() == SUCCESS
    return result


@pytest.mark.parametrize('node_class', NODES)
def test_every_node_works_by_every_name_of_the_device(acted, bench, node_class):
    made = bench(node_class)
    camera = camera_of(made)
    wanted = run_lifecycle(made, 'cpu', camera)
    assert not acted.launches
    for name in NAMES:
        acted.reset()
        found = run_lifecycle(made, name, camera)
        assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()
        assert acted.launches
        assert acted.allocated == 0


def test_stages_of_a_node_are_timed_by_the_device_in_one_wait(acted, bench, monkeypatch):
    kept: list[FrameTimes] = []
    monkeypatch.setattr(
        DebugPublisher, 'publish_times', lambda self, times, *_: kept.append(times)
    )
    made = bench(PipelineNode)
    camera = camera_of(made)
    boxes: list[Any] = []
    made.other.create_subscription(Float32MultiArray, 'detection_boxes', boxes.append, 1)
    assert made.change(device='cuda') == ''
    assert made.node.start()
    camera(1)
    made.frame(1)
    # Markers are published after the boxes.
    until(lambda: boxes and any('heads' in times.stages_ms for times in kept))
    spent = next(times for times in kept if 'heads' in times.stages_ms).stages_ms
    ticks = {name: round(ms * 1000, 3) for name, ms in spent.items()}
    # Whole launches, each of one microsecond.
    for stage in ('pillars', 'backbone', 'encoder', 'fusion', 'heads'):
        assert ticks[stage] == round(ticks[stage]) > 0
    assert waits_in(acted, 'runtime/stats.py', 'inference/device_timer.py') <= len(kept)


def waits_in(acted: Machine, *files: str) -> int:
    """Returns the number of waits in files of the package."""
    lines = acted.wait_lines.items()
    return sum(count for (_, line), count in lines if line.startswith(files))


@pytest.mark.parametrize(
    ('topics', 'waits'),
    [
        # Numbers of points and pillars, results of the heads, times of the stages.
        (['detection_boxes'], 3),
        (['detection_boxes', 'drivable_area'], 4),
        (['bev_features'], 3),
        (['bev_features', 'detection_boxes', 'bev_image'], 6),
    ],
)
def test_a_frame_waits_once_for_each_result(acted, bench, topics: list[str], waits: int):
    made = bench(PipelineNode, cameras=[''], **{'backbone.sparsity': 'never'})
    made.other.destroy_subscription(made.reader)
    kinds = {'drivable_area': OccupancyGrid, 'bev_image': Image}
    results: list[Any] = []
    for topic in topics:
        kind = kinds.get(topic, Float32MultiArray)
        made.other.create_subscription(kind, topic, results.append, 1)
    assert made.change(device='cuda') == ''
    assert made.node.start()
    until(lambda: len(Subscribers.of(made.node._outputs).topics) == len(topics))
    cloud = made.message(1)
    process(made.node, cloud)
    acted.reset()
    torch.cuda.set_sync_debug_mode('error')
    process(made.node, made.message(2))
    assert made.node.fault == ''
    assert made.node.stats.published == 2
    assert 0 < sum(acted.waits.values()) <= waits, acted.wait_lines
