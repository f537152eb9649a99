# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""BEV features of any float dtype and memory format are taken by all that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from acted_machine import Machine
from fusions import lively_fusion

import tiny_bev_ros
from tiny_bev_ros.detector import Detector
from tiny_bev_ros.grid import Axis, BevGrid
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.pillar_tensor import decode_pillars, encode_pillars
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
from tiny_bev_ros.models import make_camera, seeded
from tiny_bev_ros.models.heads.head_registry import build_heads

CPU, CUDA = torch.device('cpu'), torch.device('cuda', 0)
GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 1)
AXES = TensorLabels((1, 2), 'lidar', Axis(-4.0, 1.0), Axis(0.0, 1.0))
FORMATS = [
    (dtype, layout)
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    for layout in (torch.contiguous_format, torch.channels_last)
]


def features() -> torch.Tensor:
    """Features (1,16,8,8) float32 that bfloat16 represents."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-8, 8, (1, 16, 8, 8), generator=generator) / 8


@pytest.mark.parametrize(('dtype', 'layout'), FORMATS)
@pytest.mark.parametrize('device', [CPU, CUDA])
def test_heads(acted: Machine, dtype, layout, device):
    with seeded(0):
        heads = dict(build_heads(('detection', 'drivable'), 16).eval().items())
    wanted = HeadRunner(heads, CPU)(features(), GRID, (0.0,) * 3)
    given = features().to(device, dtype, memory_format=layout)
    found = HeadRunner(heads, device)(given, GRID, (0.0,) * 3)
    for one, other in zip(found['detection'], wanted['detection'], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found['drivable'], wanted['drivable'])


@pytest.mark.parametrize(('dtype', 'layout'), FORMATS)
def test_a_fusion(dtype, layout):
    runner = FusionRunner(lively_fusion(16, 8, 'projected'), CPU)
    ahead = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    camera = make_camera([5, 0, 4.5, 0, 5, 2.5, 0, 0, 1], ahead, (10, 6))
    view = torch.rand(1, 8, 6, 10).to(dtype)
    wanted = runner(features(), GRID, [(view.float(), camera)])
    found = runner(features().to(dtype, memory_format=layout), GRID, [(view, camera)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(('dtype', 'layout'), FORMATS)
@pytest.mark.parametrize('encoding', ['float32', 'float16'])
def test_a_message_is_made_on_the_device_in_one_copy(acted: Machine, dtype, layout, encoding):
    given = features().to(CUDA, dtype, memory_format=layout)
    roi = OutputRoi((2.0, 5.0), (-1.0, 3.0))
    acted.reset()
    message = encode_tensor(*roi.crop(given, AXES), encoding)
    assert acted.waits == {'event': 1}
    itemsize = 4 if encoding == 'float32' else 2
    assert acted.copied == {'to host': 16 * 4 * 3 * itemsize}
    decoded = decode_tensor(message)
    assert np.array_equal(decoded.array, features()[:, :, 3:7, 2:5].numpy())
    on_host = encode_tensor(*roi.crop(given.cpu(), AXES), encoding)
    assert message == on_host


def test_pillars_of_a_device_come_in_one_wait(acted: Machine):
    values, cells = features()[0, :4, 0].to(CUDA, torch.bfloat16), torch.arange(8).view(4, 2)
    acted.reset()
    message = encode_pillars(values, cells.to(CUDA), (8, 8), AXES)
    assert acted.waits == {'to device': 1, 'event': 1}  # the former by this test
    decoded = decode_pillars(message)
    assert np.array_equal(decoded.features, features()[0, :4, 0].numpy())
    assert np.array_equal(decoded.cells, cells.numpy())


def test_a_detector_returns_float32(monkeypatch: pytest.MonkeyPatch):
    weights = Path(tiny_bev_ros.__file__).parent / 'weights' / 'street.safetensors'
    detector = Detector(weights, (0.0, 8.0), (-4.0, 4.0), device=CPU)
    points = np.zeros((9, 4), np.float32)
    wanted = detector(points).features
    run = type(detector.runner)
    extract, kept = run.extract_features, []

    def half(*given):
        kept.append(extract(*given).to(torch.bfloat16, memory_format=torch.channels_last))
        return kept[-1]

    monkeypatch.setattr(run, 'extract_features', half)
    found = detector(points).features
    assert found.dtype == torch.float32
    assert torch.equal(found, kept[0].float())
    torch.testing.assert_close(found, wanted, rtol=0.01, atol=0.01)
    kept[0].zero_()
    assert found.abs().max() > 0
