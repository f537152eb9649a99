# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Static quantisation of exported networks to int8, calibrated on simulated clouds."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from tiny_bev_ros.export.simulated_inputs import (
    centred_grid,
    make_pseudo_images,
    simulated_points,
)
from tiny_bev_ros.inference.exported_runtimes import require_package
from tiny_bev_ros.inference.loaded_models import LoadedModels

# Streets of calibration: seeds of evaluation begin at 0, of other fits at 500,000.
_FIRST_SEED = 400_000
# Sensors of calibration, none of them that of the evaluation.
_LIDARS = ('hdl64', 'vlp16', 'os1_128', 'hdl32', 'mid360', 'os1_64')
# Rows and columns of the maps of calibration.
_SIZE = (256, 256)
# Percentage of the values of a map within its range: rare large values are clipped, as they would
# make the steps of all others coarse.
_PERCENTILE = 99.99
# Operators with int8 outputs. ReLU is one with its convolution: the range begins at 0.
_QUANTIZED = ('Conv', 'Relu', 'Resize', 'Add')


def calibration_images(models: LoadedModels, size: tuple[int, int] = _SIZE) -> list[Tensor]:
    """Makes pseudo-images (1,C,H,W) of simulated clouds, by the pillar feature net of the models.

    Args:
        models: all networks of the weights.
        size: rows and columns of the maps, around the sensor.
    """
    assert models.pfn is not None
    grid, values = centred_grid(models, size), models.pfn.point_values
    clouds = [
        simulated_points(_FIRST_SEED + index, values, lidar) for index, lidar in enumerate(_LIDARS)
    ]
    return make_pseudo_images(models, grid, clouds)


def quantize(plain: Path, images: Sequence[Tensor], path: Path) -> Path:
    """Quantises the convolutions of an ONNX file, in QDQ format; returns the path of the result.

    Weights become int8, symmetric, with a scale for each output channel; maps become uint8 with
    one scale. Convolutions of 1x1 after which no other follows stay float32, as do all operators
    behind them: they take little time, and the values of the outputs depend on them alone.

    Args:
        plain: .onnx file in float32 with one input.
        images: inputs whose activations set the scales.
        path: .onnx file to write.

    Raises:
        TinyBevError: onnx or onnxruntime cannot be used.
    """
    onnx = require_package('onnx')
    require_package('onnxruntime').set_default_logger_severity(3)
    library: Any = import_module('onnxruntime.quantization')
    shapes: Any = import_module('onnxruntime.quantization.shape_inference')
    with TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / 'prepared.onnx'
        shapes.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        library.quantize_static(
            prepared,
            path,
            _Reader(graph.input[0].name, images),
            quant_format=library.QuantFormat.QDQ,
            activation_type=library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_quantize=list(_quantized_nodes(graph)),
            calibrate_method=library.CalibrationMethod.Percentile,
            extra_options={'CalibPercentile': _PERCENTILE},
        )
    return path


def _quantized_nodes(graph: Any) -> Iterator[str]:
    """Yields the names of the nodes that compute in int8."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    before_conv: set[str] = set()  # nodes on whose outputs a convolution depends
    for node in reversed(graph.node):  # they are in the order of computation
        behind = [each for name in node.output for each in readers.get(name, [])]
        is_before = any(each.op_type == 'Conv' or each.name in before_conv for each in behind)
        if is_before:
            before_conv.add(node.name)
        if node.op_type in _QUANTIZED and is_before:
            yield node.name
        elif node.op_type == 'Conv' and _kernel(node) != [1, 1]:
            yield from (node.name, *(each.name for each in behind if each.op_type == 'Relu'))


def _kernel(conv: Any) -> list[int]:
    (kernel,) = [list(each.ints) for each in conv.attribute if each.name == 'kernel_shape']
    return kernel


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Context manager: drops the progress that onnxruntime prints, and its warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


class _Reader:
    """Calibration data reader; without a base class, as onnxruntime is imported only on demand."""

    def __init__(self, name: str, images: Iterable[Tensor]) -> None:
        self._name, self._rest = name, iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._rest, None)
        return None if image is None else {self._name: image.numpy()}
