# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Exported files of the shipped weights, for snippets of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tiny_bev_ros.export.exported_parts import build_parts
from tiny_bev_ros.export.onnx_files import write_onnx
from tiny_bev_ros.export.openvino_files import write_openvino
from tiny_bev_ros.export.torch_program import write_torch_program
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.resources import weights_file

_WRITERS = {
    'onnx': (write_onnx, ('onnx', 'onnxruntime')),
    'xml': (write_openvino, ('onnx', 'openvino')),
    'pt2': (write_torch_program, ()),
}


def write_files_of(code: str, folder: Path) -> None:
    """Writes the exported files that a snippet reads; skips the test without their packages."""
    for name, suffix in re.findall(r"'(backbone_heads)\.(\w+)'", code):
        write, packages = _WRITERS[suffix]
        for package in packages:
            pytest.importorskip(package)
        parts = build_parts(LoadedModels.from_file(weights_file('street')), {})
        (part,) = [each for each in parts if each.name == name]
        write(part, folder / f'{name}.{suffix}')
