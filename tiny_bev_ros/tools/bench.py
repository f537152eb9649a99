# SPDX-License-Identifier: Apache-2.0
"""Measures the engine beside the dense network and its peers, on this machine's CPU.

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

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.tools.bench_alone import peak_memory, untuned_eager
from tiny_bev_ros.tools.bench_compare import compare
from tiny_bev_ros.tools.bench_contenders import build, builders, multiplications, one_line
from tiny_bev_ros.tools.bench_end_to_end import end_to_end
from tiny_bev_ros.tools.bench_growth import growth
from tiny_bev_ros.tools.bench_inputs import KITTI, backbone, clouds, pseudo_images, simulated
from tiny_bev_ros.tools.bench_peers import export_onnx
from tiny_bev_ros.tools.bench_plots import plot_contenders, plot_growth
from tiny_bev_ros.tools.bench_report import markdown
from tiny_bev_ros.tools.bench_timing import fma_peak
from tiny_bev_ros.transport.allocator import keep_memory

_CALIBRATION_SWEEPS = 2


def measure(options: argparse.Namespace, folder: Path, scratch: Path) -> dict[str, Any]:
    """Everything that is in the report.

    Args:
        options: threads, rounds and data, as `main` reads them.
        folder: for the nodes' logs.
        scratch: an empty folder for what child processes read.
    """
    network, points = backbone(), clouds(Path(options.data))
    one = next((label for label in points if '000008' in label), next(iter(points)))
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
                'untuned': untuned_eager(image, scratch, threads, options.rounds),
            }
        )
    threads = options.threads[0]
    torch.set_num_threads(threads)
    names = list(dict.fromkeys(row['contender'] for row in runs[0]['rows']))
    memory, missing = peak_memory(names, image, scratch, threads)
    left_out += missing
    nodes, missing = try_nodes(points[one], threads, options.rounds, folder)
    left_out += missing
    return {
        'machine': {
            'processor': processor(),
            'cores': os.cpu_count(),
            'PyTorch': torch.__version__,
            'allocator': 'tuned' if options.tuned else 'as shipped, or as the user has tuned it',
        },
        'left_out': left_out,
        'alone_input': one,
        'dense_multiplications': multiplications(network, KITTI.shape),
        'runs': runs,
        'memory': memory,
        'nodes': nodes,
        'growth': growth(network, points[one], threads, max(options.rounds // 2, 1)),
    }


def try_export(network: nn.Module, folder: Path) -> list[str]:
    """Writes the network for ONNX Runtime, int8 calibrated on a simulation; or says why not."""
    sweeps = {str(i): simulated(i) for i in range(_CALIBRATION_SWEEPS)}
    calibration = [image for label, image in pseudo_images(sweeps) if label in sweeps]
    try:
        export_onnx(network, calibration, folder)
    except Exception as error:  # an exporter fails in many ways, and is a peer only
        return [f'ONNX Runtime is left out: {one_line(error)}']
    return []


def try_nodes(
    points: np.ndarray, threads: int, rounds: int, folder: Path
) -> tuple[dict[str, list[float]], list[str]]:
    """`bench_node.nodes`; empty, and a line why, where there is no ROS."""
    try:
        from tiny_bev_ros.tools.bench_node import nodes

        return nodes(points, threads, rounds, folder), []
    except (ImportError, LookupError, OSError, TinyBevError) as error:
        # LookupError: the package is not installed; OSError: no ROS environment is sourced.
        return {}, [f'pipeline_node is left out: {one_line(error)}']


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
    options = parser.parse_args()
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer warns about its own steps
    options.tuned = keep_memory()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(options, folder, Path(scratch))
    text = markdown(result)
    (folder / 'bench.json').write_text(json.dumps(result))
    (folder / 'bench.md').write_text(text)
    plot_contenders(result['runs'], folder / 'contenders.png')
    plot_growth(result['growth'], folder / 'growth.png')
    print(text)
    print(f'written: {folder}/bench.md, bench.json, contenders.png, growth.png')
