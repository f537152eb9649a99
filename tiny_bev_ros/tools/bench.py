# SPDX-License-Identifier: Apache-2.0
"""Measures the engine beside the dense network and its peers, on this machine's CPU.

All contenders run in one process and in turn, A B C A B C, with as many threads each; times are
medians, with the least and the greatest. Writes Markdown, JSON and PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from tiny_bev_ros.engine.engine import BackboneEngine
from tiny_bev_ros.engine.stages import PillarStage
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.messages.cloud import decode_cloud, encode_cloud
from tiny_bev_ros.models import PillarFeatureNet, build_backbone, scatter, seeded
from tiny_bev_ros.sim import Lidar, scan, street
from tiny_bev_ros.tools.bench_contenders import CPU, contenders

KITTI = BevGrid((0.0, 69.12), (-39.68, 39.68), (-3.0, 1.0), 0.16)
SHARES = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SIDES = (300, 450, 600, 900)
PILLARS = 8000


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, taken in turn after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            begin = time.perf_counter()
            run()
            if number:
                times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def clouds(folder: Path) -> dict[str, np.ndarray]:
    """Real KITTI sweeps where there are some, else simulated ones."""
    found = {
        f'{kind} {path.stem}': np.fromfile(path, np.float32).reshape(-1, 4)
        for kind, name in (('sweep', 'velodyne'), ('front', 'velodyne_reduced'))
        for path in sorted((folder / 'kitti' / name).glob('*.bin'))
    }
    if found:
        return found
    scene = street(0)
    return {
        f'simulated {i}': scan(scene.at(i / 2), Lidar(), (4.0 * i, -1.75, 0.0), i)
        for i in range(5)
    }


def trained_like(network: nn.Module) -> nn.Module:
    """Batch norms with statistics as after training, in eval mode."""
    with seeded(1), torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def compare(
    inputs: dict[str, np.ndarray], network: nn.Module, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """A row per input and contender: times, and errors against the float32 dense network."""
    with seeded(0):
        stage = PillarStage(PillarFeatureNet(), KITTI, CPU)
    found = contenders(network, KITTI.shape, threads)
    rows = []
    for label, points in tqdm(inputs.items(), desc='inputs', disable=None):
        pillars = stage.pillars(points)
        canvas = stage.lay_out(pillars)
        wanted = network(canvas)
        times = interleaved({name: partial(run, canvas) for name, run in found.items()}, rounds)
        for name, run in found.items():
            row: dict[str, Any] = {'input': label, 'contender': name, 'ms': times[name]}
            row['active_share'] = len(pillars[0]) / (KITTI.shape[0] * KITTI.shape[1])
            got = run(canvas)
            if got.shape == wanted.shape:
                row['max_error'] = float((got - wanted).abs().max() / wanted.abs().max())
                row['mean_error'] = float((got - wanted).abs().mean() / wanted.abs().max())
            if isinstance(run, BackboneEngine):
                row['path'] = run.statistics.path
                row['work_share'] = run.statistics.work_share
            rows.append(row)
    return rows


def end_to_end(points: np.ndarray, network: nn.Module, threads: int, rounds: int) -> list[Any]:
    """From PointCloud2 to features: by stage, and beside the straightforward way."""
    with seeded(0):
        stage = PillarStage(PillarFeatureNet(), KITTI, CPU)
        capped = PillarFeatureNet(max_points=32).eval()
    engines = {}
    for precision in ('float32', 'bfloat16'):
        engines[precision] = BackboneEngine(
            network, CPU, precision=precision, sparsity='always', threads=threads
        )
    message = encode_cloud(points, (0, 0), 'lidar')
    decoded = decode_cloud(message).points
    pillars = stage.pillars(decoded)

    def straightforward() -> Tensor:
        features, cells = capped(torch.from_numpy(decode_cloud(message).points), KITTI)
        return network(scatter(features, cells, KITTI.shape))

    def whole(precision: str) -> Tensor:
        found = stage.pillars(decode_cloud(message).points)
        return engines[precision].from_pillars(*found, KITTI.shape)

    times = interleaved(
        {
            'straightforward: capped PFN, canvas, eager': straightforward,
            'pillars to engine, float32': lambda: whole('float32'),
            'pillars to engine, bfloat16': lambda: whole('bfloat16'),
            '  of it: decoding': lambda: decode_cloud(message),
            '  of it: pillar feature net': lambda: stage.pillars(decoded),
            '  of it: engine, float32': lambda: engines['float32'].from_pillars(
                *pillars, KITTI.shape
            ),
        },
        rounds,
    )
    return [{'stage': name, 'ms': values} for name, values in times.items()]


def growth(network: nn.Module, threads: int, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Cost against occupancy, at random places, and against the size of the map."""
    random = np.random.default_rng(0)
    engines = {
        sparsity: BackboneEngine(network, CPU, sparsity=sparsity, threads=threads)
        for sparsity in ('always', 'auto', 'never')
    }

    def measure(shape: tuple[int, int], count: int) -> dict[str, list[float]]:
        flat = np.sort(random.choice(shape[0] * shape[1], count, replace=False))
        cells = torch.from_numpy(np.stack([flat // shape[1], flat % shape[1]], 1))
        features = torch.rand(count, 64)
        return interleaved(
            {
                name: partial(engine.from_pillars, features, cells, shape)
                for name, engine in engines.items()
            },
            rounds,
        )

    total = KITTI.shape[0] * KITTI.shape[1]
    return {
        'occupancy': [
            {'share': share, 'ms': measure(KITTI.shape, int(share * total))}
            for share in tqdm(SHARES, desc='occupancy', disable=None)
        ],
        'range': [
            {'metres': side * KITTI.cell, 'ms': measure((side, side), PILLARS)}
            for side in tqdm(SIDES, desc='range', disable=None)
        ],
    }


def median(values: list[float]) -> float:
    """Of milliseconds."""
    return statistics.median(values)


def markdown(result: dict[str, Any]) -> str:
    """The tables."""
    machine = ', '.join(f'{key} {value}' for key, value in result['machine'].items())
    lines = ['# Benchmark', '', machine, '', '## One pseudo-image of 496 x 432 to features', '']
    rows = result['rows']
    names = list(dict.fromkeys(row['contender'] for row in rows))
    peers = [name for name in ('eager', 'ONNX Runtime float32') if name in names]
    for kind in dict.fromkeys(row['input'].split()[0] for row in rows):
        chosen = [row for row in rows if row['input'].split()[0] == kind]
        inputs = list(dict.fromkeys(row['input'] for row in chosen))
        lines += [f'{len(inputs)} inputs: {kind}', '']
        lines.append(
            '| | median ms | least..greatest | '
            + ' | '.join(f'times faster than {peer}: median, worst, best' for peer in peers)
            + ' | max error | mean error |'
        )
        lines.append('|---' * (5 + len(peers)) + '|')
        by = {(row['input'], row['contender']): row for row in chosen}
        for name in names:
            mine = [by[label, name] for label in inputs]
            all_ms = [ms for row in mine for ms in row['ms']]
            cells = [name, f'{median(all_ms):.1f}', f'{min(all_ms):.1f}..{max(all_ms):.1f}']
            for peer in peers:
                ratios = [
                    median(by[label, peer]['ms']) / median(by[label, name]['ms'])
                    for label in inputs
                ]
                cells.append(f'{median(ratios):.2f}, {min(ratios):.2f}, {max(ratios):.2f}')
            for key in ('max_error', 'mean_error'):
                errors = [row[key] for row in mine if key in row]
                cells.append(f'{max(errors):.1e}' if errors else 'another network')
            lines.append('| ' + ' | '.join(cells) + ' |')
        lines.append('')
    lines += ['## PointCloud2 to features', '', '| | median ms |', '|---|---|']
    lines += [f'| {row["stage"]} | {median(row["ms"]):.1f} |' for row in result['end_to_end']]
    for name, unit, key in (
        ('occupancy', 'share of cells', 'share'),
        ('range', 'side, m', 'metres'),
    ):
        lines += ['', f'## Cost against {name} (median ms)', '']
        lines += [f'| {unit} | sparse | auto | dense |', '|---|---|---|---|']
        for row in result['growth'][name]:
            ms = row['ms']
            figures = ' | '.join(f'{median(ms[way]):.1f}' for way in ('always', 'auto', 'never'))
            lines.append(f'| {row[key]:g} | {figures} |')
    return '\n'.join(lines) + '\n'


def plot(result: dict[str, Any], path: Path) -> None:
    """Both growth curves."""
    figure = Figure(figsize=(12, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for axes, name, key, label in (
        (left, 'occupancy', 'share', 'share of cells that are not empty (random places)'),
        (right, 'range', 'metres', f'side of the map [m], {PILLARS} pillars'),
    ):
        rows = result['growth'][name]
        for way, legend in (('never', 'dense'), ('always', 'sparse'), ('auto', 'auto')):
            style = '--' if way == 'auto' else '-'
            values = [median(row['ms'][way]) for row in rows]
            axes.plot([row[key] for row in rows], values, f'o{style}', label=legend)
        axes.set(xlabel=label, ylabel='ms per frame', yscale='log')
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_xscale('log')
    figure.savefig(path, dpi=110)


@torch.inference_mode()
def main() -> None:
    """Entry point of the bench executable."""
    parser = argparse.ArgumentParser(prog='bench', description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=1, help='of each contender')
    parser.add_argument('--rounds', type=int, default=5, help='runs of each on each input')
    parser.add_argument('--output', default='build/bench', help='folder for the results')
    parser.add_argument(
        '--data',
        default=os.environ.get('TINY_BEV_DATA', '../shared/data'),
        help='folder with kitti/velodyne/*.bin; where it is absent a street is simulated',
    )
    options = parser.parse_args()
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    with seeded(0):
        network = trained_like(build_backbone('tiny'))
    inputs = clouds(Path(options.data))
    result = {
        'machine': {
            'processor': platform.processor() or platform.machine(),
            'cores': os.cpu_count(),
            'threads': options.threads,
            'PyTorch': torch.__version__,
            'allocator': 'tuned' if 'MALLOC_MMAP_THRESHOLD_' in os.environ else 'as shipped',
        },
        'rows': compare(inputs, network, options.threads, options.rounds),
        'end_to_end': end_to_end(
            next(
                (p for name, p in inputs.items() if '000008' in name), next(iter(inputs.values()))
            ),
            network,
            options.threads,
            options.rounds,
        ),
        'growth': growth(network, options.threads, max(options.rounds // 2, 1)),
    }
    (folder / 'bench.json').write_text(json.dumps(result))
    (folder / 'bench.md').write_text(markdown(result))
    plot(result, folder / 'bench.png')
    print(markdown(result))
    print(f'written: {folder}/bench.md, bench.json, bench.png')
