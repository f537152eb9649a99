# SPDX-License-Identifier: Apache-2.0
"""Trains one network with a LiDAR, a camera and both, and shows what each of them finds.

Each run (a mode and a seed) is kept: called again, the tool goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from safetensors.torch import load_file
from tqdm import tqdm

from benchmarks.tables import as_table
from tiny_bev_ros.demo.cloud_figure import outlines
from tiny_bev_ros.demo.fusion_figure import COLOURS
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.checkpoint.metadata import CheckpointMetadata, save_weights
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training.fusion_training import (
    EXAM_SEED,
    MODES,
    NETWORK,
    CameraFrames,
    ClassAP,
    build_network,
    detect,
    train,
)
from tiny_bev_ros.training.simulated_camera import CLASSES, GRID, CameraFrame
from tiny_bev_ros.training.train import commit_of_source

_LIKELY = 0.3
_SHOWN = 4
UNPLUGGED = 'fused, camera unplugged'


def examine(network: BevDetector, mode: str, exams: CameraFrames) -> dict[str, Any]:
    """Average precision by class: of all frames, by the light in them, of their second half.

    Of 'fused' also of the second half without its camera, as if it was unplugged in between.
    """
    marks = {part: ClassAP() for part in ('all', 'light', 'dark', 'second half')}
    if mode == 'fused':
        marks['second half, unplugged'] = ClassAP()
    for index in tqdm(range(len(exams)), unit='frame', desc='examining', disable=None):
        sight, second = exams[index], index >= len(exams) // 2
        found = detect(network, sight, mode)
        marks['all'].add(sight.frame, found)
        marks['dark' if sight.dark else 'light'].add(sight.frame, found)
        if second:
            marks['second half'].add(sight.frame, found)
            if mode == 'fused':
                without = detect(network, sight, mode, unplugged=True)
                marks['second half, unplugged'].add(sight.frame, without)
    return {
        name: dict(zip((*CLASSES, 'mean'), (*each.precisions(), each.mean()), strict=True))
        for name, each in marks.items()
    }


def _described(mode: str, seed: int, options: argparse.Namespace) -> CheckpointMetadata:
    origin = {
        'command': f'fusion_ablation --modes {mode} --seeds {seed}',
        'steps': options.steps,
        'frames': options.frames,
        'commit': commit_of_source(),
    }
    return CheckpointMetadata(NETWORK, GRID.cell, GRID.z_range, origin)


def markdown(runs: list[dict[str, Any]]) -> str:
    """Tables of means over the seeds, with the least and the greatest."""
    lights = [(mode, part, f'{mode}, {part}') for part in ('light', 'dark') for mode in MODES]
    halves = [('lidar', 'second half', 'lidar'), ('fused', 'second half', 'fused')]
    halves.append(('fused', 'second half, unplugged', UNPLUGGED))
    seeds = sorted({run['seed'] for run in runs})
    return '\n\n'.join(
        [
            f'Average precision, mean over seeds {", ".join(map(str, seeds))} (least..greatest):',
            _table(runs, [(mode, 'all', mode) for mode in MODES]),
            'By the light, as a camera tells nothing in the dark:',
            _table(runs, lights),
            'The second half of the frames alone, in which the camera was unplugged:',
            _table(runs, halves),
        ]
    )


def _table(runs: list[dict[str, Any]], rows: list[tuple[str, str, str]]) -> str:
    table = []
    for mode, part, name in rows:
        mine = [run['marks'][part] for run in runs if run['mode'] == mode]
        cells = [name]
        for column in (*CLASSES, 'mean'):
            values = [marks[column] for marks in mine]
            mean = f'{np.mean(values):.3f}' if values else ''
            cells.append(f'{mean} ({min(values):.3f}..{max(values):.3f})' if values else '')
        table.append(cells)
    return as_table(['', *CLASSES, 'mean'], table)


def draw(sights: list[CameraFrame], found: dict[str, list[Detections]], path: Path) -> None:
    """Writes a PNG: frames as rows; the picture, then the cloud with what each mode found."""
    figure = Figure(figsize=(4 + 3.2 * len(found), 3 * len(sights)), layout='constrained')
    widths = (1.7, *[1.0] * len(found))
    panels = figure.subplots(len(sights), 1 + len(found), width_ratios=widths, squeeze=False)
    for row, sight in zip(panels, sights, strict=True):
        row[0].imshow(sight.image)
        row[0].set_axis_off()
    for column, (mode, detections) in enumerate(found.items(), 1):
        panels[0, column].set_title(mode)
        for axes, sight, each in zip(panels[:, column], sights, detections, strict=True):
            _draw_map(axes, sight, each)
    legend = [Line2D([], [], color=c, label=n) for n, c in zip(CLASSES, COLOURS, strict=True)]
    legend.append(Line2D([], [], color='white', label='labelled'))
    figure.legend(handles=legend, loc='outside upper left', ncols=4, facecolor='#999999')
    figure.savefig(path, dpi=90)


def _draw_map(axes: Axes, sight: CameraFrame, found: Detections) -> None:
    points, labels = sight.frame.points, sight.frame.labels
    axes.scatter(points[:, 1], points[:, 0], s=0.3, c='#777777', linewidths=0)
    known = sight.frame.boxes[labels >= 0]
    axes.add_collection(outlines(known, ['white'] * len(known), 2.0))
    likely = found.scores >= _LIKELY
    colours = [COLOURS[label] for label in found.labels[likely].tolist()]
    axes.add_collection(outlines(found.boxes[likely].numpy(), colours, 1.4))
    axes.set(aspect='equal', xlim=GRID.y_range[::-1], ylim=GRID.x_range, xticks=[], yticks=[])
    axes.set_facecolor('#111111')


def run(options: argparse.Namespace) -> None:
    """Trains and examines what is missing; writes tables and picture."""
    folder = Path(options.output)
    frames = CameraFrames(folder / 'frames', range(options.frames))
    exams = CameraFrames(folder / 'frames', range(EXAM_SEED, EXAM_SEED + options.exams))
    dtype = dtype_for('bfloat16', torch.device('cpu'))
    runs = []
    for seed in options.seeds:
        for mode in options.modes:
            path = folder / f'{mode}_{seed}.json'
            if not path.is_file():
                begin = time.monotonic()
                network, losses = train(mode, seed, frames, options.steps, dtype=dtype)
                made = {
                    'mode': mode,
                    'seed': seed,
                    'steps': options.steps,
                    'frames': options.frames,
                    'products': str(dtype).removeprefix('torch.'),
                    'minutes': (time.monotonic() - begin) / 60,
                    'losses': losses,
                    'marks': examine(network, mode, exams),
                }
                save_weights(
                    path.with_suffix('.safetensors'), network, _described(mode, seed, options)
                )
                path.write_text(json.dumps(made))
            runs.append(json.loads(path.read_text()))
            if runs[-1]['steps'] != options.steps or runs[-1]['frames'] != options.frames:
                raise TinyBevError(f'{path} is of other steps or frames; expected another folder')
    text = markdown(runs)
    (folder / 'fusion.md').write_text(text + '\n')
    print(text)
    shown = [exams[index] for index in range(min(_SHOWN, len(exams)))]
    found = {}
    for mode in options.modes:
        network = build_network(mode, 0)
        network.load_state_dict(load_file(folder / f'{mode}_{options.seeds[0]}.safetensors'))
        network.eval()
        found[mode] = [detect(network, sight, mode) for sight in shown]
        if mode == 'fused':
            found[UNPLUGGED] = [detect(network, sight, mode, unplugged=True) for sight in shown]
    draw(shown, found, folder / 'fusion.png')
    print(f'written: {folder}/fusion.md and fusion.png')


def main() -> int:
    """Entry point of the fusion_ablation executable; returns its exit code."""
    parser = argparse.ArgumentParser(prog='fusion_ablation', description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=1200, help='of each run, of four frames')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--modes', nargs='+', default=list(MODES), choices=MODES)
    parser.add_argument('--frames', type=int, default=2400, help='to learn from')
    parser.add_argument('--exams', type=int, default=300, help='frames to be examined with')
    parser.add_argument('--output', default='build/fusion_ablation', help='folder')
    parser.add_argument('--threads', type=int, default=0, help='of PyTorch (default: its own)')
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        run(options)
    except TinyBevError as error:
        print(f'fusion_ablation: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
