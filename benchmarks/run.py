# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Benchmarks engine and transport against their peers on this machine's CPU.

Writes Markdown, JSON and PNG files; the report describes the method.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.charts import plot_contenders, plot_scaling
from benchmarks.document_tables import document_tables, replace_tables
from benchmarks.engine.backbone_costs import measure_backbones
from benchmarks.engine.benchmark_inputs import KITTI, backbone, clouds, pseudo_images
from benchmarks.engine.compare import compare, max_error
from benchmarks.engine.contenders import build, builders, multiplications
from benchmarks.engine.detection_costs import measure_detection
from benchmarks.engine.detectors import measure_detectors
from benchmarks.engine.end_to_end import measure_end_to_end
from benchmarks.engine.fusion_costs import measure_fusion
from benchmarks.engine.isolated import peak_memory, untuned_eager
from benchmarks.engine.scaling import measure_scaling
from benchmarks.extraction.extraction_rates import measure_extraction
from benchmarks.machine import machine
from benchmarks.report import markdown
from benchmarks.timing import fma_peak
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional, one_line
from tiny_bev_ros.runtime.process import configure_malloc

PARTS = ('engine', 'detectors', 'transport', 'extraction')
# Parts whose tables are in a document.
_DOCUMENTED = ('engine', 'detectors')


def measure_engine(
    points: dict[str, np.ndarray], one: str, options: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """Measures the engine and its peers on backbones, and the costs of cameras and larger maps.

    Args:
        points: clouds (N,4) float32 by label.
        one: label of the cloud for measurements on a single input.
        options: threads and rounds, as `main` parses them.
        scratch: empty folder for the input files of child processes.

    Returns:
        Results that `benchmarks.report.markdown` renders.
    """
    network = backbone()
    example = next(image for _, image in pseudo_images({one: points[one]}))
    image = scratch / 'image.npy'
    np.save(image, example.numpy())
    runs: list[dict[str, Any]] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        makers = builders(network, KITTI.shape, threads, scratch)
        contenders, left_out = build(makers, example, max_error)
        peak = fma_peak()
        rows = compare(points, network, contenders, options.rounds)
        runs.append(
            {
                'threads': threads,
                'fma_peak': max(peak, fma_peak()),
                'rows': rows,
                'left_out': left_out,
                'end_to_end': measure_end_to_end(points[one], network, threads, options.rounds),
                'untuned': untuned_eager(image, scratch, threads, options.rounds),
            }
        )
    threads = options.threads[0]
    torch.set_num_threads(threads)
    names = list(dict.fromkeys(row['contender'] for row in runs[0]['rows']))
    memory, left_out = peak_memory(names, image, scratch, threads)
    return {
        'left_out': left_out,
        'alone_input': one,
        'dense_multiplications': multiplications(network, KITTI.shape),
        'runs': runs,
        'memory': memory,
        'backbones': measure_backbones(points[one], threads, options.rounds),
        'fusion': measure_fusion(threads, options.rounds),
        'scaling': measure_scaling(network, points[one], threads, max(options.rounds // 2, 1)),
    }


def measure_shipped_weights(
    points: dict[str, np.ndarray], one: str, options: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """Measures the shipped weights from points to objects, and their peers; see measure_engine."""
    sweeps = of_kind(points, one)
    runs: list[dict[str, Any]] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        runs.append(
            {
                'threads': threads,
                'detection': measure_detection(points[one], threads, options.rounds),
                'maps': measure_detectors(sweeps, threads, options.rounds, scratch),
            }
        )
    threads, left_out = options.threads[0], []
    torch.set_num_threads(threads)
    cloud = scratch / 'points.npy'
    np.save(cloud, points[one])
    for each in runs[0]['maps']:
        names = list(dict.fromkeys(row['contender'] for row in each['rows']))
        each['memory'], missing = peak_memory(names, cloud, scratch, threads, each['map'])
        left_out += missing
    return {'left_out': left_out, 'alone_input': one, 'runs': runs}


def of_kind(points: dict[str, np.ndarray], one: str) -> dict[str, np.ndarray]:
    """Returns the clouds of the kind of one label: those with the same first word."""
    kind = one.split(maxsplit=1)[0]
    return {label: cloud for label, cloud in points.items() if label.split()[0] == kind}


def try_transport(
    points: dict[str, np.ndarray], one: str, options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Measures nodes and tensor messages; without ROS, returns a line with the reason."""
    # Both modules need rclpy and message packages.
    nodes, reason = import_optional('benchmarks.transport.node_latency')
    arrays, arrays_reason = import_optional('benchmarks.transport.array_transfers')
    if reason := reason or arrays_reason:
        return {'left_out': [f'The transport is left out: {reason}']}
    try:
        threads, rounds = options.threads[0], options.rounds
        sweeps = list(of_kind(points, one).values())
        return {
            'left_out': [],
            'latencies': nodes.measure_latencies(points[one], threads, rounds, folder),
            'streams': nodes.measure_streams(sweeps, rounds, folder),
            'arrays': arrays.measure_transfers(rounds, folder),
        }
    except (LookupError, OSError, TinyBevError) as error:
        # LookupError: the package is not installed. OSError: no ROS environment is sourced.
        return {'left_out': [f'The transport is left out: {one_line(error)}']}


@torch.inference_mode()
def main() -> None:
    """Command line of `python -m benchmarks.run`."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.run', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--threads',
        type=int,
        nargs='+',
        default=[1],
        help='thread counts of the contenders, a table for each (default: 1)',
    )
    parser.add_argument(
        '--rounds', type=int, default=5, help='timed runs per contender and input (default: 5)'
    )
    parser.add_argument('--output', default='build/bench', help='folder of the results')
    parser.add_argument(
        '--data',
        default=os.environ.get('TINY_BEV_DATA', '../shared/data'),
        help='folder with kitti/velodyne/*.bin; without it, streets are simulated',
    )
    parser.add_argument('--only', choices=PARTS, help='run one part instead of all')
    parser.add_argument('--document', default='', help='Markdown file whose tables are replaced')
    options = parser.parse_args()
    if options.document and options.only not in (None, *_DOCUMENTED):
        parser.error(
            f'--document is given with --only {options.only}; expected '
            f'{" or ".join(_DOCUMENTED)}, or all parts'
        )
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    logging.getLogger().setLevel(logging.ERROR)  # The quantizer warns about its own steps.
    tuned = configure_malloc()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    points = clouds(Path(options.data))
    one = next((label for label in points if '000008' in label), next(iter(points)))
    result: dict[str, Any] = {
        'machine': {
            'on': datetime.datetime.now().astimezone().date().isoformat(),
            **machine(),
            'allocator': 'tuned' if tuned else 'default, or as set by the user',
        },
    }
    if options.only in (None, 'engine'):
        with tempfile.TemporaryDirectory() as scratch:
            result['engine'] = measure_engine(points, one, options, Path(scratch))
        plot_contenders(result['engine']['runs'], folder / 'contenders.png')
        plot_scaling(result['engine']['scaling'], folder / 'scaling.png')
    if options.only in (None, 'detectors'):
        with tempfile.TemporaryDirectory() as scratch:
            result['detectors'] = measure_shipped_weights(points, one, options, Path(scratch))
    if options.only in (None, 'transport'):
        result['transport'] = try_transport(points, one, options, folder)
    if options.only in (None, 'extraction'):
        with tempfile.TemporaryDirectory() as scratch:
            result['extraction'] = measure_extraction(options.rounds, Path(scratch))
    text = markdown(result)
    (folder / 'bench.json').write_text(json.dumps(result))
    (folder / 'bench.md').write_text(text)
    print(text)
    print(f'written: {folder}/bench.md, bench.json and figures')
    if options.document:
        replace_tables(Path(options.document), document_tables(result))


if __name__ == '__main__':
    main()
