# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Detectors on exported networks find the objects of the package."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('onnx', 'onnxruntime')

from pathlib import Path

import numpy as np

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.export.exported_detector import use_exported
from tiny_bev_ros.export.exported_parts import build_parts
from tiny_bev_ros.export.exported_runtimes import OnnxRuntime
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.simulated_inputs import simulated_points
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.resources import weights_file


def test_a_float32_export_finds_the_objects_of_the_detector(tmp_path: Path):
    _, part, _ = build_parts(LoadedModels.from_file(weights_file('street')), {})
    path = write_onnx(part, tmp_path / 'network.onnx')
    ranges = ((-16.0, 16.0), (-12.8, 12.8))
    points, min_scores = simulated_points(3, 4, 'hdl64'), (0.3, 0.2, 0.1)
    wanted = Detector('street', *ranges, refine_boxes=False)(points, min_scores)
    detector = use_exported(Detector('street', *ranges, refine_boxes=False), OnnxRuntime(path, 1))
    found = detector(points, min_scores)
    assert len(wanted.scores) > 2
    assert np.array_equal(found.label_ids, wanted.label_ids)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.drivable, wanted.drivable, atol=1e-4)
    assert set(found.seconds) == {'pillars', 'backbone', 'heads'}
