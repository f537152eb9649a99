# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Accuracy of exported networks by the sets and metrics of `evaluate`, without second stage.

Exports shipped weights in each precision, runs backbone and heads in each runtime, and writes the
table of docs/export.md:

scripts/with_env.sh python -m experiments.export_accuracy --data path/to/data
"""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.document_tables import replace_tables
from benchmarks.tables import as_table
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.export import onnx_files, openvino_files
from tiny_bev_ros.file_digest import file_sha256
from tiny_bev_ros.inference import precision as compute_precision
from tiny_bev_ros.resources import find_weights
from tiny_bev_ros.training.evaluation import Score
from tiny_bev_ros.training.evaluation_run import (
    build_evaluation_detector,
    evaluate,
    load_min_scores,
)
from tiny_bev_ros.training.evaluation_sets import open_set, title_of
from tiny_bev_ros.training.nuscenes_argoverse import MissingDataError
from tiny_bev_ros.whole_number import whole_number

_PAGE = Path(__file__).parents[1] / 'docs/export.md'
_SETS, _LIDAR = ('sim', 'kitti'), 'vlp32'
_MEASURES = (('vehicle', 0.5), ('vehicle', 0.7), ('pedestrian', 0.25), ('cyclist', 0.5))
REFERENCE, BFLOAT16 = 'this package, float32', 'this package, bfloat16'
# Files of exported backbones with heads, by the name of the network in the table.
NetworkFiles = dict[str, Path]


def export_networks(weights: str, folder: Path) -> NetworkFiles:
    """Exports weights as the program does; returns a file per runtime and precision.

    Args:
        weights: name of shipped weights, or a file of train.
        folder: folder of the files.

    Raises:
        TinyBevError: a package is missing, or a file differs too much from PyTorch.
    """
    networks: NetworkFiles = {}
    for precision, end in (('float32', ''), ('int8', '_int8')):
        options = Namespace(weights=weights, precision=precision)
        onnx_files.export(options, folder)
        openvino_files.export(options, folder)
        networks[f'ONNX Runtime, {precision}'] = folder / f'backbone_heads{end}.onnx'
        networks[f'OpenVINO, {precision}'] = folder / f'backbone_heads{end}.xml'
    return networks


def measure(
    weights: str, networks: NetworkFiles, streets: int, data: Path | None
) -> list[dict[str, Any]]:
    """Evaluates each network on each set; a set without data is left out with a line.

    Args:
        weights: weights of the networks.
        networks: see `export_networks`.
        streets: number of simulated streets.
        data: folder of recorded data; None for none.

    Returns:
        One row for each set and network: 'set', 'title', 'frames', 'network', 'figures' by name.
    """
    min_scores, rows = load_min_scores(weights), []
    for name in _SETS:
        try:
            frames = open_set(name, streets, _LIDAR, data)
        except MissingDataError as error:
            print(f'export_accuracy: {name} left out: {error}', file=sys.stderr)
            continue
        kept = list(frames.frames)
        for network in (REFERENCE, BFLOAT16, *networks):
            # Computed in bfloat16 also on a CPU that is slower with it.
            with patch.object(compute_precision, 'reason_for_float32', lambda dtype: ''):
                detector = build_evaluation_detector(
                    weights,
                    frames.ahead,
                    second_stage=False,
                    exported_network=networks.get(network, ''),
                    precision='bfloat16' if network == BFLOAT16 else 'float32',
                )
            figures = _figures(evaluate(detector, kept, len(kept), min_scores, network).score)
            rows.append(
                {
                    'set': name,
                    'title': title_of(name, _LIDAR),
                    'frames': len(kept),
                    'network': network,
                    'figures': figures,
                }
            )
    return rows


def _figures(score: Score) -> dict[str, float]:
    figures = {
        f'{kind}, BEV {min_iou:g}': 100
        * score.rankings['visible', kind, 'bev', min_iou].average_precision()
        for kind, min_iou in _MEASURES
    }
    if score.areas:
        figures['drivable IoU'] = 100 * score.drivable_iou
    return figures


def table(weights: str, rows: list[dict[str, Any]]) -> str:
    """Renders the rows as Markdown, with date and digest of the weights."""
    digest = file_sha256(find_weights(weights))
    sets = {row['set']: f'{row["title"]}: {row["frames"]} frames' for row in rows}
    names = list(dict.fromkeys(name for row in rows for name in row['figures']))
    cells = [
        [
            row['set'],
            row['network'],
            *(f'{row["figures"][name]:.1f}' if name in row['figures'] else '' for name in names),
        ]
        for row in rows
    ]
    described = '; '.join(f'`{name}`, {title}' for name, title in sets.items())
    return (
        f'Average precision and IoU in percent, on {date.today().isoformat()}, weights of SHA-256 '
        f'`{digest[:16]}`, PyTorch {torch.__version__}. Sets: {described}.\n\n'
        f'{as_table(["set", "computed by", *names], cells)}'
    )


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--weights', default='street', help='weights (default: street)')
    parser.add_argument(
        '--frames', type=whole_number(1), default=60, help='simulated streets (default: 60)'
    )
    parser.add_argument('--data', type=Path, help='folder with kitti/ (default: no KITTI)')
    parser.add_argument('--output', default='build/export_accuracy', help='folder of the files')
    parser.add_argument('--document', type=Path, default=_PAGE, help='page with the table')
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        networks = export_networks(options.weights, folder)
        rows = measure(options.weights, networks, options.frames, options.data)
        (folder / 'accuracy.json').write_text(json.dumps(rows, indent=1))
        replace_tables(options.document, {'accuracy': table(options.weights, rows)})
    except (OSError, TinyBevError) as error:
        print(f'export_accuracy: {error}', file=sys.stderr)
        return 1
    print(f'written: {options.document}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
