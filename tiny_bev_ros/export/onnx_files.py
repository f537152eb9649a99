# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Target `onnx`: backbone, backbone with heads, and pillar feature net as ONNX files."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export.checked_export import WrittenPart, export_parts
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.export.exported_parts import MEANINGS, ExportedPart
from tiny_bev_ros.export.int8_quantization import calibration_images, quantize
from tiny_bev_ros.inference.exported_runtimes import OnnxRuntime, require_package
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.optional_imports import one_line
from tiny_bev_ros.resources import find_weights

# 17 is the first with LayerNormalization, and that of Autoware's own exports; GridSample came
# with 16.
OPSET = 17


class OnnxForm(NamedTuple):
    """Form in which a part is written.

    Attributes:
        part: the part, with the number format of the file.
        name: name of the file, without suffix.
        write: writes the part as ONNX file at a path, which it returns.
    """

    part: ExportedPart
    name: str
    write: Callable[[ExportedPart, Path], Path]


def export(options: argparse.Namespace, folder: Path) -> ExportReport:
    """Exports the networks of a weight file and compares them in ONNX Runtime.

    Args:
        options: options of the program; ``weights`` and ``precision`` are read.
        folder: folder of the files.

    Raises:
        TinyBevError: a package is missing, a part cannot be exported, or differs too much.
    """
    weights = find_weights(options.weights)
    models = LoadedModels.from_file(weights)
    images = images_for(options.precision, models)

    def write(part: ExportedPart) -> WrittenPart:
        form = form_of(part, images, 'float32')
        path = form.write(form.part, folder / f'{form.name}.onnx')
        run = OnnxRuntime(path, threads=1).outputs
        return WrittenPart(form.part, [path], run)

    return export_parts(weights, models, write)


def images_for(precision: str, models: LoadedModels) -> list[Tensor]:
    """Returns the pseudo-images that calibrate a precision; none for float32."""
    return calibration_images(models) if precision == 'int8' else []


def form_of(part: ExportedPart, images: Sequence[Tensor], default_format: str) -> OnnxForm:
    """Returns the form of a part: int8 with calibration images, but for the PFN.

    Args:
        part: part to export.
        images: calibration images; empty for none.
        default_format: number format of the target without them.
    """
    if images and 'pseudo_image' in part.inputs:
        write = partial(write_int8, images=images)
        return OnnxForm(replace(part, number_format='int8'), f'{part.name}_int8', write)
    return OnnxForm(replace(part, number_format=default_format), part.name, write_onnx)


def write_int8(part: ExportedPart, path: Path, images: Sequence[Tensor]) -> Path:
    """Writes a part as ONNX file with convolutions in int8; returns its path. See `quantize`.

    Args:
        part: part to export, with one input.
        path: .onnx file.
        images: inputs whose activations set the scales.

    Raises:
        TinyBevError: onnx or onnxruntime cannot be used.
    """
    with TemporaryDirectory() as folder:
        plain = write_onnx(part, Path(folder) / 'float32.onnx')
        quantize(plain, images, path)
    return _describe_file(part, path)


def write_onnx(part: ExportedPart, path: Path) -> Path:
    """Writes a part as ONNX file of opset 17 and checks the file; returns its path.

    Args:
        part: part to export; without axes the file has the sizes of the example inputs.
        path: .onnx file.

    Raises:
        TinyBevError: onnx cannot be used, or lacks an operator of the network.
    """
    require_package('onnx')
    try:
        _trace(part, path)
    except Exception as error:  # raised for operators that ONNX lacks, of any type
        raise TinyBevError(
            f'{path.name} cannot be written ({one_line(error)}); expected a network with '
            f'operators of ONNX {OPSET}'
        ) from error
    return _describe_file(part, path)


def _trace(part: ExportedPart, path: Path) -> None:
    with warnings.catch_warnings():
        # Deprecation of this exporter, and conditions on sizes, whose effects parity would show.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            part.network,
            tuple(part.inputs.values()),
            path,
            dynamo=False,  # the other exporter needs one more package and is not better here
            opset_version=OPSET,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_axes={name: dict(axes) for name, axes in part.axes.items()},
        )


def _describe_file(part: ExportedPart, path: Path) -> Path:
    """Adds meanings and metadata to an ONNX file and checks the file; returns its path."""
    onnx = require_package('onnx')
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = MEANINGS.get(value.name, '')
    onnx.helper.set_model_props(model, part.description)
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    return path
