# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Command line of extract."""

from __future__ import annotations

import argparse

from tiny_bev_ros.extraction.frame_outputs import DTYPES, FORMATS
from tiny_bev_ros.extraction.work_units import SINGLE, Shard
from tiny_bev_ros.resources import GRIDS
from tiny_bev_ros.whole_number import whole_number

_EXAMPLES = """\
examples:
  extract drives/* --output out                   detections as Parquet, on all cores
  extract drive --output out --grid around --params-file robot.yaml
                                                  with the parameters of the robot's nodes
  extract drive --output out --what detections,drivable,features --region 0 40 -10 10
  extract drive --output out --format mcap        messages for `ros2 bag play` and Foxglove
  extract drives/* --output out --shard 3/8       on the third of eight machines that share `out`
  extract drives/* --output out --executor ray    on Ray

exit codes:
  0    everything is extracted, but for the skipped clouds of the summary
  1    nothing could begin, or the disk is full: the same command continues where it ended
  2    some bags or runs failed, see failed.jsonl, and the rest is extracted; or an option is wrong
  130  interrupted by Ctrl-C: the same command continues where it ended
"""


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns the argument parser of extract."""
    parser = argparse.ArgumentParser(
        prog='extract',
        description=description,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('bags', nargs='+', help='rosbag2 folders, .mcap or .db3 files')
    parser.add_argument('--output', required=True, help='folder of the results')
    results = parser.add_argument_group('results')
    results.add_argument(
        '--what',
        default='detections',
        help='some of detections, drivable, features (8 MiB a cloud), separated by commas '
        '(default: detections)',
    )
    results.add_argument(
        '--format',
        choices=FORMATS,
        default='parquet',
        help='parquet, with features as safetensors; safetensors alone; or mcap, the messages of '
        'the nodes (default: parquet)',
    )
    results.add_argument(
        '--dtype', choices=DTYPES, default='float16', help='dtype of features (default: float16)'
    )
    results.add_argument(
        '--region',
        nargs=4,
        type=float,
        metavar=('X0', 'X1', 'Y0', 'Y1'),
        help='extent of the features that are written, in metres (default: the whole map)',
    )
    clouds = parser.add_argument_group('clouds and networks')
    clouds.add_argument(
        '--topic', default='', help='PointCloud2 topic; needed where a bag has several'
    )
    clouds.add_argument(
        '--every', type=whole_number(1), default=1, help='take every Nth cloud (default: 1)'
    )
    clouds.add_argument(
        '--params-file',
        action='append',
        default=[],
        metavar='FILE',
        help='parameter file of the nodes, read for pipeline_node; may be repeated, the last wins',
    )
    clouds.add_argument('--grid', choices=GRIDS, help='preset of the grid, as in the launch files')
    clouds.add_argument(
        '--weights', default='', help='shipped weights, or a file of train (default: street)'
    )
    work = parser.add_argument_group('work')
    work.add_argument(
        '--workers',
        type=whole_number(1),
        help='processes with one thread each (default: number of cores, without limits of '
        'containers; 1 on a GPU; on Ray as many as fit)',
    )
    work.add_argument(
        '--executor',
        choices=('local', 'ray'),
        default='local',
        help='processes on this machine, or actors of a Ray cluster (default: local)',
    )
    work.add_argument(
        '--ray-address',
        default='',
        help='address of the Ray cluster (default: a new one on this machine)',
    )
    work.add_argument(
        '--shard',
        type=_shard,
        default=SINGLE,
        metavar='I/N',
        help='part I of N of the bags, from 1: one part for each machine that shares the output '
        'folder; call all with the same bags',
    )
    work.add_argument(
        '--retries',
        type=whole_number(0),
        default=1,
        help='further attempts at a run whose worker died (default: 1)',
    )
    work.add_argument(
        '--verify', action='store_true', help='compare finished files with their SHA-256 first'
    )
    work.add_argument(
        '--overwrite', action='store_true', help='remove results of another configuration'
    )
    return parser


def _shard(text: str) -> Shard:
    """Parses I/N, part I of N, from 1."""
    index, _, count = text.partition('/')
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f'{text}; expected I/N, I from 1 to N')
    return Shard(int(index), int(count))
