# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Entry points of the command-line programs.

Programs need packages that nodes do not need: for figures, progress bars, bags and training. If
one of them cannot be imported, the program ends with one line that names it.
"""

from __future__ import annotations

import re
import sys
import traceback
from importlib import import_module
from pathlib import Path

from tiny_bev_ros.optional_imports import one_line

_PACKAGE_DIR = Path(__file__).parent
# Names in pip of packages that ROS does not provide, by import name.
_PIP_NAMES = {
    'backports': 'rosbags',
    'matplotlib': 'matplotlib',
    'numba': 'numba',
    'pyarrow': 'pyarrow',
    'ray': 'ray',
    'rosbags': 'rosbags',
    'safetensors': 'safetensors',
    'tqdm': 'tqdm',
}


def run(name: str, module: str) -> int:
    """Runs a program; returns its exit code.

    Args:
        name: name of the executable.
        module: module of this package with its `main`, such as `bag.player`.
    """
    try:
        program = import_module(f'tiny_bev_ros.{module}')
    except (Exception, SystemExit) as error:  # raised by binaries for another Python or NumPy
        failed = _failed_import(error)
        if not failed:
            raise
        pip = _PIP_NAMES.get(failed.partition('.')[0], '')
        remedy = f': pip install --upgrade {pip}' if pip else ''
        print(
            f'{name}: {failed} cannot be used ({one_line(error)}); expected it to work{remedy}',
            file=sys.stderr,
        )
        return 1
    code: int = program.main() or 0
    return code


def _failed_import(error: BaseException) -> str:
    """Returns the foreign module whose import raised an error; '' for a bug of this package."""
    lines = [
        frame.line or ''
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE_DIR in Path(frame.filename).parents
    ]
    match = re.match(r'(?:from|import) ([\w.]+)', lines[-1]) if lines else None
    return match[1] if match and not match[1].startswith('tiny_bev_ros') else ''


def bag_player() -> None:
    """Entry point of bag_player: plays a rosbag2."""
    sys.exit(run('bag_player', 'bag.player'))


def make_street_bag() -> None:
    """Entry point of make_street_bag: writes a rosbag2 of a simulated street."""
    sys.exit(run('make_street_bag', 'bag.street_bag'))


def extract() -> None:
    """Entry point of extract: runs the networks on rosbags."""
    sys.exit(run('extract', 'extraction.extract'))


def train() -> None:
    """Entry point of train: trains a network, or adapts weights to a bag."""
    adapts = any(word.partition('=')[0] == '--adapt' for word in sys.argv[1:])
    sys.exit(run('train', 'bag.adapt_to_bag' if adapts else 'training.train'))


def train_second_stage() -> None:
    """Entry point of train_second_stage: adds a second stage to a trained network."""
    sys.exit(run('train_second_stage', 'training.train_second_stage'))


def evaluate() -> None:
    """Entry point of evaluate: measures the accuracy of a trained network."""
    sys.exit(run('evaluate', 'training.evaluate'))


def export() -> None:
    """Entry point of export: writes trained networks for other runtimes."""
    sys.exit(run('export', 'export.export'))


def demo() -> None:
    """Entry point of demo: plays a bag through the nodes and draws their outputs."""
    sys.exit(run('demo', 'demo.cloud_demo'))


def demo_fusion() -> None:
    """Entry point of demo_fusion: plays a bag with a camera through the nodes."""
    sys.exit(run('demo_fusion', 'demo.fusion_demo'))
