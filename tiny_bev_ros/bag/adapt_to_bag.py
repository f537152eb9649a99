# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Adapts weights to an unlabelled recording: `train --adapt BAG`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tiny_bev_ros.bag.cloud_frames import read_frames
from tiny_bev_ros.bag.reader import Bag, find_cloud_topic
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.training.adaptation import OLD_WEIGHTS, REPORT, adapt
from tiny_bev_ros.training.train import WEIGHTS
from tiny_bev_ros.whole_number import whole_number

# Number of successive clouds that are taken together, where a bag has more than are wanted.
_RUN = 3


def choose_runs(count: int, wanted: int) -> list[range]:
    """Chooses clouds of a recording: all of them, or short runs that are spread evenly.

    Args:
        count: number of clouds in the recording.
        wanted: number of clouds to choose, at least 3.
    """
    if count <= wanted:
        return [range(count)] if count else []
    number = wanted // _RUN
    begins = [index * (count - _RUN) // max(number - 1, 1) for index in range(number)]
    return [range(begin, begin + _RUN) for begin in begins]


def read_runs(bag: Bag, topic: str, wanted: int) -> Iterator[list[np.ndarray]]:
    """Yields runs of successive clouds (N,4) float32, at most as many clouds as wanted.

    Args:
        bag: the recording.
        topic: its PointCloud2 topic.
        wanted: number of clouds, at least 3.

    Raises:
        TinyBevError: the topic has no clouds, or one cannot be decoded.
    """
    runs = choose_runs(len(bag.times(topic)), wanted)
    if not runs:
        raise TinyBevError(f'{topic} of {bag.path} has 0 clouds; expected at least one')
    for run in runs:
        frames = read_frames(bag, topic, first=run.start, count=len(run))
        yield [frame.points[:, :4] for frame in frames]


@reports_errors('train')
def main() -> int:
    """Runs the train executable with `--adapt`; returns its exit code."""
    parser = argparse.ArgumentParser(prog='train', description=__doc__)
    parser.add_argument('--adapt', required=True, metavar='BAG', help='rosbag2 to adapt to')
    parser.add_argument('--topic', default='', help='PointCloud2 topic, if there are several')
    parser.add_argument(
        '--start-from', default='street', help='weights to adapt: a name, or a file of train'
    )
    parser.add_argument(
        '--frames',
        type=whole_number(_RUN),
        default=200,
        help='clouds that are taken at most, spread over the bag (default: 200)',
    )
    parser.add_argument(
        '--steps',
        type=whole_number(2),
        default=300,
        help='updates of the weights (default: 300)',
    )
    parser.add_argument('--output', default='build/adapt', help='new folder of the results')
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of PyTorch (default: its own choice)'
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    folder = Path(options.output)
    command = f'train --adapt {Path(options.adapt).name} --start-from {options.start_from}'
    with Bag(options.adapt) as bag:
        for remark in bag.remarks:
            print(f'train: {remark}', file=sys.stderr)
        topic = find_cloud_topic(bag, options.topic)
        runs = read_runs(bag, topic, options.frames)
        print(adapt(options.start_from, runs, folder, options.steps, command))
    print(f'\nwritten: {folder}/{WEIGHTS}, {OLD_WEIGHTS} and {REPORT} beside it')
    return 0


if __name__ == '__main__':
    sys.exit(main())
