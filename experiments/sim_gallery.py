# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Draws simulated sweeps beside real ones, with a table of statistics of both."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from experiments.street_statistics import (
    StreetStatistics,
    format_table,
    measure_streets,
    statistics_table,
)
from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.heads.box_ops import corners_bev
from tiny_bev_ros.sim import CLASSES, LIDARS, ego_pose, scan, street, street_plan
from tiny_bev_ros.training.evaluation import EvalFrame
from tiny_bev_ros.training.kitti import KittiFolder, read_sweep
from tiny_bev_ros.training.labelled_frame import MIN_POINTS, Frame
from tiny_bev_ros.training.nuscenes_argoverse import argoverse_frames, nuscenes_frames
from tiny_bev_ros.training.simulated_lidar import simulate_lidar_frame

_X, _Y = (-20.0, 60.0), (-35.0, 35.0)
_COLUMNS = 4
_GREY = (0.5, 0.5, 0.5)
# Heights in inches of a row of panels and of a line of the table.
_ROW_HEIGHT, _LINE_HEIGHT = 5.6, 0.2
# Sensors of the simulated statistics.
_SENSORS = ('hdl64', 'hdl32')
# Distance in metres up to which objects of real sweeps are counted.
_REACH = 50.0


def draw_gallery(path: Path, seeds: list[int], lidar: str, real: list[Path], table: str) -> None:
    """Writes a PNG: real sweeps, then simulated streets with boxes of their objects, a table.

    Boxes of no class, and with too few points for training, are grey.

    Args:
        path: path of the PNG.
        seeds: seeds of the streets.
        lidar: name of the simulated sensor.
        real: files of float32 x, y, z, intensity.
        table: text below the panels.
    """
    rows = -(-len(real) // _COLUMNS) - (-len(seeds) // _COLUMNS)
    heights = [_ROW_HEIGHT * rows, _LINE_HEIGHT * (len(table.splitlines()) + 1)]
    figure = Figure(figsize=(5 * _COLUMNS, sum(heights)), layout='constrained')
    top, bottom = figure.subfigures(2, 1, height_ratios=heights)
    panels = list(np.atleast_1d(top.subplots(rows, _COLUMNS)).ravel())
    text = bottom.subplots()
    text.text(0.0, 1.0, table, family='monospace', fontsize=11, va='top')
    for panel in [*panels, text]:
        panel.set_axis_off()
    for panel, file in zip(panels, real, strict=False):
        _draw(panel, read_sweep(file), f'real: {file.stem}')
    first = -(-len(real) // _COLUMNS) * _COLUMNS
    for panel, seed in zip(panels[first:], seeds, strict=False):
        scene, plan = street(seed), street_plan(seed)
        sweep = scan(scene, LIDARS[lidar], ego_pose(plan), seed)
        _draw(panel, sweep.points, f'simulated: {plan.kind}, seed {seed}, {lidar}')
        colours = [
            CLASS_COLOURS[CLASSES[label]] if count >= MIN_POINTS and label >= 0 else _GREY
            for label, count in zip(scene.objects['label'], sweep.counts, strict=True)
        ]
        corners = corners_bev(torch.from_numpy(sweep.boxes)).numpy()[:, [0, 1, 2, 3, 0], ::-1]
        panel.add_collection(LineCollection(list(corners), colors=colours, linewidths=0.9))
    figure.savefig(path, dpi=80)


def _draw(panel: Axes, points: np.ndarray, title: str) -> None:
    """Draws a cloud from above, x up and y to the left, the lowest points first."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = (x > _X[0]) & (x < _X[1]) & (y > _Y[0]) & (y < _Y[1])
    order = np.argsort(z[inside])
    shade = z[inside][order].clip(-2.5, 1.0)
    panel.set_axis_on()
    panel.scatter(y[inside][order], x[inside][order], s=0.3, c=shade, linewidths=0)
    panel.set(xlim=_Y[::-1], ylim=_X, aspect='equal', facecolor='#111111', title=title)
    panel.set(xticks=[], yticks=[])


def measure_sets(data: Path, streets: int) -> tuple[dict[str, StreetStatistics], list[str]]:
    """Computes the statistics of real and of simulated sweeps.

    Args:
        data: folder of real data.
        streets: number of simulated streets for each sensor.

    Returns:
        Statistics by the name of a set, and a line for each set that is left out.
    """
    sets: dict[str, Iterable[Frame]] = {}
    left_out = []
    for name, read in _REAL.items():
        try:
            sets[name] = read(data)
        except TinyBevError as error:
            left_out.append(f'{name} is left out: {error}')
    for sensor in _SENSORS:
        sets[f'simulated, {sensor}'] = _simulated(sensor, streets)
    return {name: measure_streets(frames) for name, frames in sets.items()}, left_out


def _kitti(data: Path) -> list[Frame]:
    folder = KittiFolder(data / 'kitti')
    return [folder.frame(name) for name in folder.names]


def _nuscenes(data: Path) -> list[Frame]:
    return _without_resembling(nuscenes_frames(data / 'nuscenes_mini_sample', _REACH))


def _argoverse(data: Path) -> list[Frame]:
    return _without_resembling(argoverse_frames(data / 'av2', _REACH))


def _without_resembling(frames: Iterable[EvalFrame]) -> list[Frame]:
    """Returns labelled sweeps in which objects that only resemble a class are of none."""
    found = []
    for frame in frames:
        labels = frame.lidar.labels.copy()
        for label, truth in enumerate(frame.truths['visible']):
            labels[np.flatnonzero(frame.lidar.labels == label)[~truth.required]] = -1
        found.append(replace(frame.lidar, labels=labels))
    return found


# Readers of the real sets.
_REAL = {'KITTI': _kitti, 'nuScenes': _nuscenes, 'Argoverse 2': _argoverse}


def _simulated(sensor: str, streets: int) -> Iterable[Frame]:
    return (simulate_lidar_frame(seed, (sensor,)) for seed in range(streets))


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(prog='sim_gallery', description=__doc__)
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 3, 4, 5, 6, 9, 10, 12],
        help='seeds of the streets',
    )
    parser.add_argument('--lidar', default='hdl64', choices=list(LIDARS), help='simulated sensor')
    parser.add_argument(
        '--data',
        default=os.environ.get('TINY_BEV_DATA', '../shared/data'),
        help='folder with kitti/velodyne/*.bin, if there are any',
    )
    parser.add_argument(
        '--streets', type=int, default=40, help='number of simulated streets in the statistics'
    )
    parser.add_argument('--output', default='build/sim_gallery.png', help='path of the figure')
    options = parser.parse_args()
    real = sorted(Path(options.data).glob('kitti/velodyne/*.bin'))[: 2 * _COLUMNS]
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    statistics, left_out = measure_sets(Path(options.data), options.streets)
    table = '\n'.join([format_table(statistics_table(statistics)), *left_out])
    print(table)
    draw_gallery(path, options.seeds, options.lidar, real, table)
    print(f'{len(real)} real and {len(options.seeds)} simulated sweeps: {path}')


if __name__ == '__main__':
    main()
