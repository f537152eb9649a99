# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Trains one network with a LiDAR, a camera and both, and compares their average precision.

A run is one mode with one seed. Results of finished runs are kept, and a later call completes the
missing ones.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
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
from experiments.ablation_modes import (
    CONFIG,
    EVAL_SEED,
    MODES,
    ClassAP,
    ModeDetector,
    detect,
    train,
)
from tiny_bev_ros.demo.cloud_figure import outlines
from tiny_bev_ros.demo.fusion_figure import COLOURS
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.precision import dtype_for
from tiny_bev_ros.models.checkpoint.metadata import save_weights
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.training.camera_dataset import CameraFrames
from tiny_bev_ros.training.simulated_camera import CLASSES, GRID, CameraFrame
from tiny_bev_ros.training.train import describe
from tiny_bev_ros.training.trainer import LOG
from tiny_bev_ros.training.training_config import TrainConfig

# Scores from which detections are drawn, and number of frames that are drawn.
_LIKELY = 0.3
_SHOWN = 4
UNPLUGGED = 'fused, camera unplugged'


def evaluate(model: ModeDetector, frames: CameraFrames) -> dict[str, Any]:
    """Computes the average precision by class, for all frames, by light, and for the second half.

    In 'fused' the second half is evaluated a second time without the camera, as if the camera had
    been unplugged in between.

    Args:
        model: the trained network.
        frames: frames for evaluation.
    """
    precisions = {part: ClassAP() for part in ('all', 'light', 'dark', 'second half')}
    if model.mode == 'fused':
        precisions['second half, unplugged'] = ClassAP()
    for index in tqdm(range(len(frames)), unit='frame', desc='evaluating', disable=None):
        frame, second = frames[index], index >= len(frames) // 2
        detections = detect(model, frame)
        precisions['all'].add(frame.lidar, detections)
        precisions['dark' if frame.dark else 'light'].add(frame.lidar, detections)
        if second:
            precisions['second half'].add(frame.lidar, detections)
            if model.mode == 'fused':
                without = detect(model, frame, unplugged=True)
                precisions['second half, unplugged'].add(frame.lidar, without)
    return {
        name: dict(zip((*CLASSES, 'mean'), (*ap.precisions(), ap.mean()), strict=True))
        for name, ap in precisions.items()
    }


def markdown(runs: list[dict[str, Any]]) -> str:
    """Writes Markdown tables of means over the seeds, with the lowest and the highest value."""
    lights = [(mode, part, f'{mode}, {part}') for part in ('light', 'dark') for mode in MODES]
    halves = [('lidar', 'second half', 'lidar'), ('fused', 'second half', 'fused')]
    halves.append(('fused', 'second half, unplugged', UNPLUGGED))
    seeds = sorted({run['seed'] for run in runs})
    return '\n\n'.join(
        [
            f'Average precision, mean over seeds {", ".join(map(str, seeds))} (lowest..highest):',
            _table(runs, [(mode, 'all', mode) for mode in MODES]),
            'By light, as nothing is visible to a camera in the dark:',
            _table(runs, lights),
            'Second half of the frames, in which the camera was unplugged:',
            _table(runs, halves),
        ]
    )


def _table(runs: list[dict[str, Any]], rows: list[tuple[str, str, str]]) -> str:
    table = []
    for mode, part, name in rows:
        parts = [run['average_precision'][part] for run in runs if run['mode'] == mode]
        cells = [name]
        for column in (*CLASSES, 'mean'):
            values = [precisions[column] for precisions in parts]
            mean = f'{np.mean(values):.3f}' if values else ''
            cells.append(f'{mean} ({min(values):.3f}..{max(values):.3f})' if values else '')
        table.append(cells)
    return as_table(['', *CLASSES, 'mean'], table)


def draw(frames: list[CameraFrame], detections: dict[str, list[Detections]], path: Path) -> None:
    """Writes a PNG: a row for each frame, of the image and the detections of each mode.

    Args:
        frames: frames to draw.
        detections: detections in each frame, by mode.
        path: path of the PNG.
    """
    modes = len(detections)
    figure = Figure(figsize=(4 + 3.2 * modes, 3 * len(frames)), layout='constrained')
    widths = (1.7, *[1.0] * modes)
    panels = figure.subplots(len(frames), 1 + modes, width_ratios=widths, squeeze=False)
    for row, frame in zip(panels, frames, strict=True):
        row[0].imshow(frame.image)
        row[0].set_axis_off()
    for column, (mode, of_mode) in enumerate(detections.items(), 1):
        panels[0, column].set_title(mode)
        for axes, frame, found in zip(panels[:, column], frames, of_mode, strict=True):
            _draw_map(axes, frame, found)
    legend = [Line2D([], [], color=c, label=n) for n, c in zip(CLASSES, COLOURS, strict=True)]
    legend.append(Line2D([], [], color='white', label='labelled'))
    figure.legend(handles=legend, loc='outside upper left', ncols=4, facecolor='#999999')
    figure.savefig(path, dpi=90)


def _draw_map(axes: Axes, frame: CameraFrame, detections: Detections) -> None:
    points, labels = frame.lidar.points, frame.lidar.labels
    axes.scatter(points[:, 1], points[:, 0], s=0.3, c='#777777', linewidths=0)
    known = frame.lidar.boxes[labels >= 0]
    axes.add_collection(outlines(known, ['white'] * len(known), 2.0))
    likely = detections.scores >= _LIKELY
    colours = [COLOURS[label] for label in detections.labels[likely].tolist()]
    axes.add_collection(outlines(detections.boxes[likely].numpy(), colours, 1.4))
    axes.set(aspect='equal', xlim=GRID.y_range[::-1], ylim=GRID.x_range, xticks=[], yticks=[])
    axes.set_facecolor('#111111')


def _config(options: argparse.Namespace, seed: int) -> TrainConfig:
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    dtype = dtype_for('bfloat16', device)
    return dataclasses.replace(
        CONFIG,
        seed=seed,
        steps=options.steps,
        frames=options.frames,
        precision=str(dtype).removeprefix('torch.'),
    )


def _losses(log: Path) -> list[float]:
    with log.open(newline='') as file:
        return [float(row['total']) for row in csv.DictReader(file)]


def run_mode(
    mode: str, config: TrainConfig, folder: Path, frames: CameraFrames, eval_frames: CameraFrames
) -> dict[str, Any]:
    """Trains and evaluates the network of a mode, unless its results exist; returns the results.

    Args:
        mode: one of MODES.
        config: the run.
        folder: folder of the results of all runs.
        frames: frames to train on.
        eval_frames: frames for evaluation.

    Raises:
        TinyBevError: results in the folder are of another number of steps or frames.
    """
    path = folder / f'{mode}_{config.seed}.json'
    if not path.is_file():
        begin = time.monotonic()
        state = folder / f'{mode}_{config.seed}'
        model = train(mode, config, frames, state)
        results = {
            'mode': mode,
            'seed': config.seed,
            'steps': config.steps,
            'frames': config.frames,
            'precision': config.precision,
            'minutes': (time.monotonic() - begin) / 60,
            'losses': _losses(state / LOG),
            'average_precision': evaluate(model, eval_frames),
        }
        command = f'fusion_ablation --modes {mode} --seeds {config.seed}'
        save_weights(path.with_suffix('.safetensors'), model.network, describe(config, command))
        path.write_text(json.dumps(results))
    results = json.loads(path.read_text())
    if results['steps'] != config.steps or results['frames'] != config.frames:
        raise TinyBevError(f'{path} is of other steps or frames; expected another folder')
    return results


def run(options: argparse.Namespace) -> None:
    """Trains and evaluates missing runs; writes the tables and the figure."""
    folder = Path(options.output)
    frames = CameraFrames(folder / 'frames', range(options.frames))
    eval_seeds = range(EVAL_SEED, EVAL_SEED + options.eval_frames)
    eval_frames = CameraFrames(folder / 'frames', eval_seeds)
    runs = [
        run_mode(mode, _config(options, seed), folder, frames, eval_frames)
        for seed in options.seeds
        for mode in options.modes
    ]
    text = markdown(runs)
    (folder / 'fusion.md').write_text(text + '\n')
    print(text)
    shown = [eval_frames[index] for index in range(min(_SHOWN, len(eval_frames)))]
    detections = {}
    for mode in options.modes:
        model = ModeDetector(mode, CONFIG.network)
        model.network.load_state_dict(load_file(folder / f'{mode}_{options.seeds[0]}.safetensors'))
        model.eval()
        detections[mode] = [detect(model, frame) for frame in shown]
        if mode == 'fused':
            detections[UNPLUGGED] = [detect(model, frame, unplugged=True) for frame in shown]
    draw(shown, detections, folder / 'fusion.png')
    print(f'written: {folder}/fusion.md and fusion.png')


@reports_errors('fusion_ablation')
def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog='fusion_ablation', description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=CONFIG.steps, help='steps of each run')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of runs')
    parser.add_argument(
        '--modes', nargs='+', default=list(MODES), choices=MODES, help='sensors of runs'
    )
    parser.add_argument('--frames', type=int, default=CONFIG.frames, help='frames to train on')
    parser.add_argument('--eval-frames', type=int, default=300, help='frames for evaluation')
    parser.add_argument('--output', default='build/fusion_ablation', help='folder of the results')
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of PyTorch (default: its own choice)'
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    run(options)
    return 0


if __name__ == '__main__':
    sys.exit(main())
