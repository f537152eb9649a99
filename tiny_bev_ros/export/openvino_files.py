# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Target `openvino`: networks as OpenVINO IR with weights in float16 or int8."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tiny_bev_ros.export.checked_export import WrittenPart, export_parts
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.export.exported_parts import ExportedPart
from tiny_bev_ros.export.onnx_files import form_of, images_for, write_onnx
from tiny_bev_ros.inference.exported_builder import exported_files
from tiny_bev_ros.inference.exported_runtimes import (
    METADATA_KEY,
    OpenVino,
    require_package,
)
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.resources import find_weights


def export(options: argparse.Namespace, folder: Path) -> ExportReport:
    """Exports the networks of a weight file and compares them in OpenVINO, computing in float32.

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
        form = form_of(part, images, 'float16')
        path = write_openvino(form.part, folder / f'{form.name}.xml', form.write)
        run = OpenVino(path, threads=1).outputs
        return WrittenPart(form.part, exported_files(path), run)

    return export_parts(weights, models, write)


def write_openvino(
    part: ExportedPart,
    path: Path,
    write: Callable[[ExportedPart, Path], Path] = write_onnx,
) -> Path:
    """Writes a part as OpenVINO IR, an .xml and a .bin file; returns the path of the former.

    It goes by way of ONNX, so that names and axes are those of the ONNX file.

    Args:
        part: part to export.
        path: .xml file.
        write: writes the part as ONNX file.

    Raises:
        TinyBevError: openvino or onnx cannot be used.
    """
    openvino = require_package('openvino')
    with TemporaryDirectory() as folder:
        model = openvino.convert_model(write(part, Path(folder) / 'network.onnx'))
        for key, value in part.description.items():
            model.set_rt_info(value, [METADATA_KEY, key])
        openvino.save_model(model, path, compress_to_fp16=True)
    return path
