# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Times from PointCloud2 to features: engine and straightforward methods, also by stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.engine.benchmark_inputs import CPU, KITTI, pillar_feature_net
from benchmarks.engine.padded_pfn import MAX_POINTS, encode, voxelise
from benchmarks.timing import interleaved
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.model_builder import build_runner
from tiny_bev_ros.inference.model_runner import EncodedPillars
from tiny_bev_ros.messages.point_cloud import decode_cloud, encode_cloud
from tiny_bev_ros.models.pillars import scatter_checked

PADDED = 'straightforward: padded PFN, canvas, eager'
CAPPED = 'straightforward: capped PFN without padding, canvas, eager'
_ENGINE = 'pillars to engine, '
_PRECISIONS = ('float32', 'bfloat16')


def measure_end_to_end(
    points: np.ndarray, network: nn.Module, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Times the methods and their stages.

    Args:
        points: (N,4) float32 points of one sweep.
        network: backbone in eval mode.
        threads: number of threads of the engine.
        rounds: timed runs of each method and stage.

    Returns:
        Rows with 'name', 'whole' (True for a method, False for a stage) and 'ms'.
    """
    capped = pillar_feature_net(MAX_POINTS)
    models = LoadedModels(pfn=pillar_feature_net(), backbone=network, grid=KITTI)
    runners = {
        precision: build_runner(models, ExecutionConfig(CPU, precision, 'always', threads))
        for precision in _PRECISIONS
    }
    runner = runners['float32']
    message = encode_cloud(points, (0, 0), 'lidar')

    def decode() -> Tensor:
        decoded = decode_cloud(message).points
        return torch.from_numpy(decoded if decoded.flags.writeable else decoded.copy())

    cloud = decode()
    voxels = voxelise(cloud, KITTI)
    features, cells = capped(cloud, KITTI)
    pillars = runner.encode_points(cloud.numpy())
    canvas = scatter_checked(features, cells, KITTI.shape)

    def padded() -> Tensor:
        voxels = voxelise(decode(), KITTI)
        features = encode(capped, *voxels, KITTI)
        return network(scatter_checked(features, voxels[2], KITTI.shape))

    def without_padding() -> Tensor:
        features, cells = capped(decode(), KITTI)
        return network(scatter_checked(features, cells, KITTI.shape))

    def whole(precision: str) -> Tensor:
        encoded = runner.encode_points(decode_cloud(message).points)
        return backbone(precision, encoded)

    def backbone(precision: str, encoded: EncodedPillars) -> Tensor:
        return runners[precision].extract_features(encoded.features, encoded.cells, KITTI.shape)

    methods = {
        PADDED: padded,
        CAPPED: without_padding,
        f'{_ENGINE}float32': lambda: whole('float32'),
        f'{_ENGINE}bfloat16': lambda: whole('bfloat16'),
    }
    stages = {
        'both: decoding': decode,
        'straightforward: voxelising': lambda: voxelise(cloud, KITTI),
        'straightforward: padded PFN': lambda: encode(capped, *voxels, KITTI),
        'straightforward: capped PFN': lambda: capped(cloud, KITTI),
        'straightforward: canvas': lambda: scatter_checked(features, cells, KITTI.shape),
        'straightforward: eager backbone': lambda: network(canvas),
        'engine: pillars': lambda: runner.encode_points(cloud.numpy()),
        'engine: float32': lambda: backbone('float32', pillars),
        'engine: bfloat16': lambda: backbone('bfloat16', pillars),
    }
    times = interleaved(methods | stages, rounds)
    return [{'name': name, 'whole': name in methods, 'ms': ms} for name, ms in times.items()]
