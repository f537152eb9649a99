# SPDX-License-Identifier: Apache-2.0
"""Measures engine and transport beside their peers, on this machine's CPU.

Writes Markdown, JSON and PNG; the report says how each figure was taken.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.charts import plot_contenders, plot_growth
from benchmarks.engine.alone import peak_memory, untuned_eager
from benchmarks.engine.backbone_costs import backbones
from benchmarks.engine.benchmark_inputs import KITTI, backbone, clouds, pseudo_images, simulated
from benchmarks.engine.compare import compare
from benchmarks.engine.contenders import build, builders, multiplications
from benchmarks.engine.detection_costs import detection
from benchmarks.engine.end_to_end import end_to_end
from benchmarks.engine.fusion_costs import fusion
from benchmarks.engine.growth import growth
from benchmarks.engine.peers import export_onnx
from benchmarks.report import markdown
from benchmarks.timing import fma_peak
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional, one_line
from tiny_bev_ros.runtime.process import configure_malloc

_CALIBRATION_SWEEPS = 2


def measure_engine(
    points: dict[str, np.ndarray], one: str, options: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """The engine beside its peers.

    Args:
        points: clouds by label.
        one: the label of the one that is measured alone.
        options: threads and rounds, as `main` reads them.
        scratch: an empty folder for what child processes read.
    """
    network = backbone()
    example = next(image for _, image in pseudo_images({one: points[one]}))
    image = scratch / 'image.npy'
    np.save(image, example.numpy())
    left_out = try_export(network, scratch)
    runs = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        found, missing = build(builders(network, KITTI.shape, threads, scratch), example)
        left_out += missing
        peak = fma_peak()
        rows = compare(points, network, found, options.rounds)
        runs.append(
            {
                'threads': threads,
                'fma_peak': max(peak, fma_peak()),
                'rows': rows,
                'end_to_end': end_to_end(points[one], network, threads, options.rounds),
                'detection': detection(points[one], threads, options.rounds),
                'untuned': untuned_eager(image, scratch, threads, options.rounds),
            }
        )
    threads = options.threads[0]
    torch.set_num_threads(threads)
    names = list(dict.fromkeys(row['contender'] for row in runs[0]['rows']))
    memory, missing = peak_memory(names, image, scratch, threads)
    return {
        'left_out': left_out + missing,
        'alone_input': one,
        'dense_multiplications': multiplications(network, KITTI.shape),
        'runs': runs,
        'memory': memory,
        'backbones': backbones(points[one], threads, options.rounds),
        'fusion': fusion(threads, options.rounds),
        'growth': growth(network, points[one], threads, max(options.rounds // 2, 1)),
    }


def try_transport(
    points: dict[str, np.ndarray], one: str, options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Nodes and tensors as processes of their own; only a line why not, where there is no ROS."""
    # Both need rclpy, and messages.
    nodes, why_not = import_optional('benchmarks.transport.node_latency')
    arrays, why = import_optional('benchmarks.transport.round_trips')
    if why_not := why_not or why:
        return {'left_out': [f'The transport is left out: {why_not}']}
    try:
        threads, rounds = options.threads[0], options.rounds
        kind = one.split(maxsplit=1)[0]
        sweeps = [cloud for label, cloud in points.items() if label.split()[0] == kind]
        return {
            'left_out': [],
            'latencies': nodes.latencies(points[one], threads, rounds, folder),
            'streams': nodes.streams(sweeps, rounds, folder),
            'arrays': arrays.transport(rounds, folder),
        }
    except (LookupError, OSError, TinyBevError) as error:
        # LookupError: the package is not installed; OSError: no ROS environment is sourced.
        return {'left_out': [f'The transport is left out: {one_line(error)}']}


def try_export(network: nn.Module, folder: Path) -> list[str]:
    """Writes the network for ONNX Runtime, int8 calibrated on a simulation; or says why not."""
    sweeps = {str(i): simulated(i) for i in range(_CALIBRATION_SWEEPS)}
    calibration = [image for label, image in pseudo_images(sweeps) if label in sweeps]
    try:
        export_onnx(network, calibration, folder)
    except Exception as error:  # an exporter fails in many ways, and is a peer only
        return [f'ONNX Runtime is left out: {one_line(error)}']
    return []


def processor() -> str:
    """Its name, as Linux has it."""
    try:
        found = re.search(r'model name\s*: (.+)', Path('/proc/cpuinfo').read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


@torch.inference_mode()
def main() -> None:
    """Entry point of the bench executable."""
    parser = argparse.ArgumentParser(prog='bench', description=__doc__.splitlines()[0])
    parser.add_argument(
        '--threads', type=int, nargs='+', default=[1], help='of each contender; a table for each'
    )
    parser.add_argument('--rounds', type=int, default=5, help='runs of each on each input')
    parser.add_argument('--output', default='build/bench', help='folder for the results')
    parser.add_argument(
        '--data',
        default=os.environ.get('TINY_BEV_DATA', '../shared/data'),
        help='folder with kitti/velodyne/*.bin; where it is absent a street is simulated',
    )
    parser.add_argument(
        '--only', choices=['engine', 'transport'], help='one part; default: both of them'
    )
    options = parser.parse_args()
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer warns about its own steps
    tuned = configure_malloc()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    points = clouds(Path(options.data))
    one = next((label for label in points if '000008' in label), next(iter(points)))
    result: dict[str, Any] = {
        'machine': {
            'processor': processor(),
            'cores': os.cpu_count(),
            'PyTorch': torch.__version__,
            'allocator': 'tuned' if tuned else 'as shipped, or as the user has tuned it',
        },
    }
    if options.only != 'transport':
        with tempfile.TemporaryDirectory() as scratch:
            result['engine'] = measure_engine(points, one, options, Path(scratch))
        plot_contenders(result['engine']['runs'], folder / 'contenders.png')
        plot_growth(result['engine']['growth'], folder / 'growth.png')
    if options.only != 'engine':
        result['transport'] = try_transport(points, one, options, folder)
    text = markdown(result)
    (folder / 'bench.json').write_text(json.dumps(result))
    (folder / 'bench.md').write_text(text)
    print(text)
    print(f'written: {folder}/bench.md, bench.json and pictures')
