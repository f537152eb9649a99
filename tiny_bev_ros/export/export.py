# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Exports trained networks to other runtimes and compares each file with PyTorch.

Examples:
  export --target onnx --weights street --output build/onnx
      backbone.onnx, backbone_heads.onnx and pfn.onnx, for ONNX Runtime and TensorRT
  export --target openvino --weights build/train/weights.safetensors --output build/openvino
      the same networks of your own training, for OpenVINO, with weights in float16
  export --target openvino --precision int8 --weights street --output build/openvino
      backbone and heads quantised to int8, as backbone_int8 and backbone_heads_int8
  export --target torch --weights street --output build/torch
      programs of torch.export, for PyTorch without this package
  export --target autoware --weights street --output tiny_bev
      a bundle for Autoware's CenterPoint node

Files are written if the largest error is within the tolerance, which is measured on simulated
clouds at sizes that were not traced. No GPU is needed. docs/export.md describes the tensors.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export import autoware_options
from tiny_bev_ros.export.export_report import ExportReport
from tiny_bev_ros.models.checkpoint.safetensors_file import read_header
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.resources import find_weights

# Modules of the targets, each with a function `export(options, folder) -> ExportReport`.
_TARGETS = {
    'onnx': 'onnx_files',
    'openvino': 'openvino_files',
    'torch': 'torch_program',
    'autoware': 'autoware_bundle',
}
# Targets that take another precision than float32.
_QUANTIZING = ('onnx', 'openvino')


@reports_errors('export', OSError)
def main() -> int:
    """Runs the export executable; returns its exit code."""
    options = _parser().parse_args()
    output = Path(options.output)
    target = import_module(f'tiny_bev_ros.export.{_TARGETS[options.target]}')
    _check_precision(options)
    autoware_options.check_target(options)
    output.mkdir(parents=True, exist_ok=True)
    # A folder of its own until parity is checked, so that no wrong file is left.
    with TemporaryDirectory(dir=output, prefix='.export-') as folder:
        report: ExportReport = target.export(options, Path(folder))
        written = [_move(file, Path(folder), output) for file in report.files]
    notes = _left_out_cameras(find_weights(options.weights))
    print('\n'.join([*report.lines(), *notes, '', *(f'written: {path}' for path in written)]))
    return 0


def _check_precision(options: argparse.Namespace) -> None:
    if options.precision != 'float32' and options.target not in _QUANTIZING:
        raise TinyBevError(
            f'precision is {options.precision}; expected float32 with target {options.target}, '
            f'as {" and ".join(_QUANTIZING)} alone are quantised'
        )


def _move(file: Path, folder: Path, output: Path) -> Path:
    path = output / file.relative_to(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.onnx':
        # Autoware loads an engine that is there, even one of the weights of an earlier export.
        path.with_suffix('.engine').unlink(missing_ok=True)
    return file.replace(path)


def _left_out_cameras(weights: Path) -> list[str]:
    """Returns a line for camera encoder and fusion, which are not exported."""
    with weights.open('rb') as file:
        has_cameras = any(name.startswith('fusion.') for name in read_header(file))
    if not has_cameras:
        return []
    return ['camera encoder and fusion: left out, so results are those without cameras']


def _parser() -> argparse.ArgumentParser:
    purpose, _, examples = __doc__.partition('\n\n')
    parser = argparse.ArgumentParser(
        prog='export',
        description=purpose,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--target', required=True, choices=list(_TARGETS), help='runtime of the files')
    add('--weights', required=True, help='name of shipped weights, or a file of train')
    add('--output', required=True, help='folder of the files; it is made where it is missing')
    add(
        '--precision',
        default='float32',
        choices=['float32', 'int8'],
        help='int8 quantises backbone and heads of the targets onnx and openvino, by simulated '
        'clouds (default: float32)',
    )
    autoware_options.add_arguments(parser.add_argument_group('options of --target autoware'))
    return parser


if __name__ == '__main__':
    sys.exit(main())
