# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Peers of the engine: other runtimes of a network, and the backbone of PointPillars."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiny_bev_ros.export.exported_parts import ExportedPart
from tiny_bev_ros.export.int8_quantization import quantize
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.inference.exported_runtimes import require_package

Contender = Callable[[Tensor], Tensor]


class PointPillarsBackbone(nn.Module):
    """2-D backbone of PointPillars as OpenPCDet and mmdetection3d configure it for KITTI.

    Three stages of stride 2 with 3, 5 and 5 further convolutions of 64, 128 and 256 channels,
    each brought to stride 2 and 128 channels: (B,64,H,W) to (B,384,H/2,W/2).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages, self.ups = nn.ModuleList(), nn.ModuleList()
        channels = 64
        for width, further, scale in ((64, 3, 1), (128, 5, 2), (256, 5, 4)):
            layers = _conv(channels, width, 2)
            for _ in range(further):
                layers += _conv(width, width, 1)
            self.stages.append(nn.Sequential(*layers))
            up = nn.ConvTranspose2d(width, 128, scale, scale, bias=False)
            self.ups.append(nn.Sequential(up, nn.BatchNorm2d(128, eps=1e-3), nn.ReLU()))
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B,64,H,W), H and W multiples of 8, to (B,384,H/2,W/2)."""
        maps = []
        for stage, up in zip(self.stages, self.ups, strict=True):
            x = stage(x)
            maps.append(up(x))
        return torch.cat(maps, 1)


def _conv(channels: int, width: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(width, eps=1e-3), nn.ReLU()]


def compiled(network: nn.Module, threads: int) -> Contender:
    """Compiles the network by torch.compile (inductor), weights folded in, at the first run."""
    # Waiting compiler processes of a pool would disturb later measurements.
    os.environ['TORCHINDUCTOR_COMPILE_THREADS'] = '1'
    torch.compiler.reset()
    run: Any = torch.compile(network, options={'freezing': True, 'cpp.threads': threads})
    return run


def export_onnx(network: nn.Module, example: Tensor, path: Path) -> Path:
    """Exports a network for one size, unless the file is there; returns its path.

    Args:
        network: network in eval mode, from a tensor to a tensor or a tuple of them.
        example: pseudo-image (1,C,H,W), whose shape the file takes.
        path: .onnx file.
    """
    # Its absence is reported first.
    require_package('onnx')
    if not path.exists():
        write_onnx(ExportedPart(path.stem, network, {'x': example}, (), {}), path)
    return path


def export_int8(plain: Path, calibration: Callable[[], list[Tensor]], path: Path) -> Path:
    """Quantizes an exported network to int8, unless the file is there; returns its path.

    Args:
        plain: .onnx file of `export_onnx`.
        calibration: returns pseudo-images, whose activations set the scales.
        path: .onnx file to write.
    """
    return path if path.exists() else quantize(plain, calibration(), path)
