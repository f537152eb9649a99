# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_bev_ros.engine.stages import BackboneStage, PillarStage
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import PillarFeatureNet, TinyBEVBackbone, scatter

GRID = BevGrid((0, 8), (-4, 4), (-3, 1), 0.5)
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]


def points() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform([0, -4, -3, 0], [8, 4, 1, 1], (300, 4)).astype(np.float32)


@pytest.mark.parametrize('device', DEVICES)
def test_stages_give_what_the_modules_give(device: str):
    pfn, backbone = PillarFeatureNet(out_channels=8), TinyBEVBackbone(8, 8, 16)
    pfn.eval()
    backbone.eval()
    with torch.no_grad():
        canvas = scatter(*pfn(torch.from_numpy(points()), GRID), GRID.shape)
        features = backbone(canvas)
    to_canvas = PillarStage(pfn, GRID, torch.device(device))
    to_features = BackboneStage(backbone, torch.device(device))
    assert to_features.stride == 2
    got = to_canvas(points())
    assert got.device.type == device
    torch.testing.assert_close(got.cpu(), canvas)
    torch.testing.assert_close(to_features(got).cpu(), features, atol=1e-4, rtol=1e-4)


def test_stages_leave_train_mode():
    pfn, backbone = PillarFeatureNet(), TinyBEVBackbone()
    PillarStage(pfn, GRID, torch.device('cpu'))
    BackboneStage(backbone, torch.device('cpu'))
    assert not pfn.training
    assert not backbone.training


@pytest.mark.filterwarnings('error')
def test_a_read_only_view_of_a_message_is_taken_without_a_warning():
    cloud = points()
    cloud.flags.writeable = False
    canvas = PillarStage(PillarFeatureNet(), GRID, torch.device('cpu'))(cloud)
    assert canvas.shape == (1, 64, 16, 16)


def test_float16_input_is_computed_in_float32():
    backbone = TinyBEVBackbone(8, 8, 16)
    stage = BackboneStage(backbone, torch.device('cpu'))
    canvas = torch.rand(1, 8, 6, 6).half()
    assert stage(canvas).dtype == torch.float32
    torch.testing.assert_close(stage(canvas), stage(canvas.float()))


def test_wrong_channels_are_refused():
    stage = BackboneStage(TinyBEVBackbone(8, 8, 16), torch.device('cpu'))
    with pytest.raises(TinyBevError, match='channel size is 4; expected 8'):
        stage(torch.zeros(1, 4, 6, 6))


def test_a_lack_of_memory_is_one_line():
    class Greedy(TinyBEVBackbone):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**60)

    stage = BackboneStage(Greedy(8, 8, 16), torch.device('cpu'))
    with pytest.raises(TinyBevError, match=r'not enough memory for .*\(1, 8, 6, 6\)'):
        stage(torch.zeros(1, 8, 6, 6))


def test_another_error_of_pytorch_stays_what_it_is():
    class Broken(TinyBEVBackbone):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., :3] @ x

    stage = BackboneStage(Broken(8, 8, 16), torch.device('cpu'))
    with pytest.raises(RuntimeError, match='Expected size'):
        stage(torch.zeros(1, 8, 6, 6))
