# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detector whose backbone and heads are computed by an exported network in another runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.export.exported_runtimes import ExportedNetwork
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.fast_nms import fast_nms
from tiny_bev_ros.inference.head_runner import HeadOutputs
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.inference.pillar_runner import scatter_pillars
from tiny_bev_ros.models.heads.detection import CLASSES, DetectionMaps
from tiny_bev_ros.models.heads.detection_head import DetectionHead, select_peaks
from tiny_bev_ros.models.heads.head_registry import DecodeOptions
from tiny_bev_ros.models.heads.score_calibration import ScoreCalibration


class ExportedMaps(NamedTuple):
    """Outputs of `backbone_heads`, in their order; see docs/export.md.

    Attributes:
        scores: (1,K,h,w) calibrated scores.
        boxes: (1,9,h,w) boxes by cell.
        drivable: (1,1,h,w) probability of road surface.
    """

    scores: Tensor
    boxes: Tensor
    drivable: Tensor

    def decode(self, grid: BevGrid, min_scores: tuple[float, ...]) -> HeadOutputs:
        """Returns objects and drivable area, as from the heads themselves.

        Args:
            grid: grid of the maps.
            min_scores: lowest score of a reported object, for each class.
        """
        offset, z, size, axis, sign = self.boxes.split([2, 1, 3, 2, 1], dim=1)
        maps = DetectionMaps(self.scores.logit(), offset, z, size.log(), axis, sign)
        (selected,) = select_peaks(maps, ScoreCalibration())  # the identity on these logits
        detections = DetectionHead.finish(selected, grid, DecodeOptions(min_scores, fast_nms))
        return HeadOutputs(detection=detections, drivable=self.drivable[0, 0])


@dataclass(frozen=True)
class ExportedRunner(ModelRunner):
    """ModelRunner whose stages 'backbone' and 'heads' run and decode an exported network.

    Its BEV features are the outputs of the network, one after another: (1,13,h,w).

    Attributes:
        network: `backbone_heads` with the heads detection and drivable.
    """

    network: ExportedNetwork | None = None

    @torch.inference_mode()
    def extract_features(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes the outputs of the network for pillars on a grid of (H,W)."""
        assert self.network is not None
        return torch.cat(self.network.outputs(scatter_pillars((features, cells), shape)), dim=1)

    @torch.inference_mode()
    def detect(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Decodes the outputs of the network."""
        maps = ExportedMaps(*features.split([len(CLASSES), 9, 1], dim=1))
        return maps.decode(grid, min_scores)


def use_exported(detector: Detector, network: ExportedNetwork) -> Detector:
    """Replaces backbone and heads of a detector by an exported network; returns the detector.

    Args:
        detector: detector on the CPU, without a second stage, of the weights of the network.
        network: `backbone_heads` in its runtime, with the heads detection and drivable.
    """
    stages: dict[str, Any] = vars(detector.runner)
    detector.runner = ExportedRunner(**stages, network=network)
    return detector
