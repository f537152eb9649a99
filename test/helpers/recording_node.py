# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Pipeline node that processes clouds in the thread of a test and keeps its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rclpy
import torch

from tiny_bev_ros.nodes.head_publishers import HeadFrame
from tiny_bev_ros.nodes.output_publisher import Subscribers
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

ALL_TOPICS = frozenset({'bev_features', 'detection_boxes', 'drivable_area'})


class RecordingNode:
    """Active pipeline_node with the parameters of a file.

    Attributes:
        node: the node, whose clouds `node_bench.process` passes on.
        features: BEV features of each cloud.
        frames: outputs of the heads of each cloud; None without heads.
    """

    def __init__(self, path: Path) -> None:
        self.context = rclpy.Context()
        self.context.init(args=['--ros-args', '--params-file', str(path)])
        self.node = PipelineNode(context=self.context)
        assert self.node.start(), self.node.fault
        self.node._next_subscribers = Subscribers(ALL_TOPICS)
        self.node._note_subscribers = lambda: True  # type: ignore[method-assign]
        self.features: list[torch.Tensor] = []
        self.frames: list[HeadFrame] = []
        self.node._features.publish = self._keep_features  # type: ignore[method-assign]
        for head in self.node._heads._heads:
            head.publish = self._keep_frame  # type: ignore[method-assign]

    def _keep_features(self, features: torch.Tensor, labels: Any, topics: Any) -> None:
        self.features.append(features.clone())
        self.frames.append(None)  # type: ignore[arg-type]

    def _keep_frame(self, frame: HeadFrame, topics: Any) -> None:
        self.frames[-1] = frame  # that of the last head holds the ground

    def close(self) -> None:
        self.node.destroy_node()
        self.context.try_shutdown()
