# SPDX-License-Identifier: Apache-2.0
"""What the benchmark runs against each other; each maps a pseudo-image to features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tiny_bev_ros.engine.engine import BackboneEngine

Contender = Callable[[Tensor], Tensor]
CPU = torch.device('cpu')


class PointPillarsBackbone(nn.Module):
    """The 2-D backbone of PointPillars as OpenPCDet and mmdetection3d configure it for KITTI.

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
        """(B,64,H,W), H and W multiples of 8, to (B,384,H/2,W/2)."""
        maps = []
        for stage, up in zip(self.stages, self.ups, strict=True):
            x = stage(x)
            maps.append(up(x))
        return torch.cat(maps, 1)


def _conv(channels: int, width: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(width, eps=1e-3), nn.ReLU()]


def contenders(network: nn.Module, shape: tuple[int, int], threads: int) -> dict[str, Contender]:
    """By name, the network as its author wrote it first.

    Args:
        network: the backbone, in eval mode.
        shape: (H,W) of the pseudo-images.
        threads: of each contender.
    """
    found: dict[str, Contender] = {'eager': network}
    for name, precision, sparsity in (
        ('folded float32', 'float32', 'never'),
        ('folded bfloat16', 'bfloat16', 'never'),
        ('engine float32', 'float32', 'always'),
        ('engine bfloat16', 'bfloat16', 'always'),
        ('engine auto', 'float32', 'auto'),
    ):
        engine = BackboneEngine(
            network, CPU, precision=precision, sparsity=sparsity, threads=threads
        )
        engine.warm_up(shape)
        found[name] = engine
    found |= onnx_runtime(network, shape, threads)
    found['PointPillars backbone'] = PointPillarsBackbone().eval()
    return found


def onnx_runtime(network: nn.Module, shape: tuple[int, int], threads: int) -> dict[str, Contender]:
    """The same network in ONNX Runtime, float32 and int8; empty where it is not installed."""
    try:
        import onnx  # noqa: F401 - the exporter needs it
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        return {}
    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    found: dict[str, Contender] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized = Path(folder) / 'float32.onnx', Path(folder) / 'int8.onnx'
        x = torch.zeros(1, 64, *shape)
        torch.onnx.export(
            network, (x,), plain, dynamo=False, input_names=['x'], output_names=['y']
        )
        quantize_dynamic(plain, quantized, weight_type=QuantType.QUInt8)
        for name, path in (('ONNX Runtime float32', plain), ('ONNX Runtime int8', quantized)):
            session = onnxruntime.InferenceSession(
                path, options, providers=['CPUExecutionProvider']
            )
            found[name] = _Session(session)
    return found


class _Session:
    def __init__(self, session: object) -> None:
        self._session = session

    def __call__(self, x: Tensor) -> Tensor:
        (y,) = self._session.run(None, {'x': x.numpy()})  # type: ignore[attr-defined]
        return torch.from_numpy(y)
