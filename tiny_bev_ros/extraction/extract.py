# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Extracts detections, drivable area and BEV features from rosbags, as pipeline_node does.

Equal parameters give equal results, without middleware, as fast as the machine allows. After an
extraction was stopped or killed, the same command continues where it ended.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import tiny_bev_ros
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.cloud_worker import MakeCloudWorker
from tiny_bev_ros.extraction.frame_outputs import DTYPES, FORMATS, OutputOptions, check_packages
from tiny_bev_ros.extraction.output_manifest import open_output
from tiny_bev_ros.extraction.pool_events import WorkerPool
from tiny_bev_ros.extraction.progress import ExtractionProgress, Summary
from tiny_bev_ros.extraction.ray_pool import RayPool
from tiny_bev_ros.extraction.scheduler import Scheduler
from tiny_bev_ros.extraction.supervised_pool import SupervisedPool
from tiny_bev_ros.extraction.work_units import (
    RUN_FRAMES,
    SINGLE,
    Shard,
    Survey,
    plan_surveys,
)
from tiny_bev_ros.models.device import resolve_device
from tiny_bev_ros.nodes.model_factory import CHECKPOINTS, make_output_roi
from tiny_bev_ros.nodes.parameter_files import read_parameters
from tiny_bev_ros.resources import GRIDS, config_file
from tiny_bev_ros.whole_number import whole_number

_NODE = 'pipeline_node'
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
  0    everything is extracted
  1    nothing could begin, or the disk is full: the same command continues where it ended
  2    some bags or runs failed, see failed.jsonl, and the rest is extracted; or an option is wrong
  130  interrupted by Ctrl-C: the same command continues where it ended
"""


def shard(text: str) -> Shard:
    """Parses I/N, part I of N, from 1."""
    index, _, count = text.partition('/')
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f'{text}; expected I/N, I from 1 to N')
    return Shard(int(index), int(count))


def extract(options: argparse.Namespace) -> int:
    """Extracts; returns the exit code.

    Args:
        options: arguments of the program.

    Raises:
        TinyBevError: an argument, a parameter or the output folder cannot be used, or the disk
            is full.
    """
    began = time.monotonic()
    values = read_values(options)
    outputs = OutputOptions(
        tuple(dict.fromkeys(options.what.split(','))),
        options.format,
        options.dtype,
        make_output_roi(values),
    )
    check_packages(outputs)
    surveys = plan_surveys(options.bags)
    summary, progress = Summary(), ExtractionProgress()
    manifest = make_manifest(options, values, surveys)
    with open_output(options.output, manifest, options.shard, options.overwrite) as folder:
        for unit in folder.verify() if options.verify else ():
            progress.warn(f'{unit.key}: {unit.reason}; it is computed again')
        maker = MakeCloudWorker(values, options.topic, options.every, outputs, folder)
        with closing(make_pool(options, values, maker)) as pool, closing(progress):
            scheduler = Scheduler(pool, folder, progress, options.retries)
            for outcome in scheduler.outcomes(surveys):
                summary.add(outcome)
                for remark in (outcome.result or {}).get('remarks', ()):
                    progress.warn(f'{outcome.unit.path}: {remark}')
    print(summary.table(time.monotonic() - began))
    return 2 if summary.failures else 0


def read_values(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the parameters of pipeline_node by the arguments of the program.

    Raises:
        TinyBevError: a file or a value is wrong.
    """
    preset = [config_file(f'grids/{options.grid}.yaml')] if options.grid else []
    files = [*options.params_file, *preset]
    given: dict[str, Any] = {}
    if options.region:
        x_low, x_high, y_low, y_high = options.region
        given |= {'output_roi.x_range': [x_low, x_high], 'output_roi.y_range': [y_low, y_high]}
    values = read_parameters(_NODE, files, given, weights=options.weights)
    # Results must not depend on the number of workers, so each computes with one thread.
    return {**values, 'num_threads': values['num_threads'] or 1}


def make_manifest(
    options: argparse.Namespace, values: dict[str, Any], surveys: Sequence[Survey]
) -> dict[str, Any]:
    """Returns everything that determines the outputs.

    Raises:
        TinyBevError: a weight file cannot be read.
    """
    return {
        'version': tiny_bev_ros.__version__,
        'parameters': values,
        'weights': {name: _sha256(values[name]) for name in CHECKPOINTS.values() if values[name]},
        'outputs': {
            'what': sorted(set(options.what.split(','))),
            'format': options.format,
            'dtype': options.dtype,
        },
        'topic': options.topic,
        'every': options.every,
        'frames_of_a_run': RUN_FRAMES,
        'bags': {survey.name: describe_bag(survey.path) for survey in surveys},
    }


def describe_bag(path: str) -> dict[str, Any]:
    """Returns path, and names, sizes and times of the files of a bag, by which a change shows."""
    bag = Path(path)
    files = sorted(bag.iterdir()) if bag.is_dir() else [bag]
    stats = {file.name: file.stat() for file in files if file.is_file()}
    return {
        'path': path,
        'files': {
            name: {'bytes': each.st_size, 'mtime_ns': each.st_mtime_ns}
            for name, each in stats.items()
        },
    }


def make_pool(
    options: argparse.Namespace, values: dict[str, Any], maker: MakeCloudWorker
) -> WorkerPool:
    """Makes the pool of workers, on this machine or on Ray.

    Raises:
        TinyBevError: the device or Ray cannot be used.
    """
    on_gpu = resolve_device(values['device']).type == 'cuda'
    # One GPU is busy with one worker; several would need its memory several times.
    workers = options.workers or (1 if on_gpu else len(os.sched_getaffinity(0)))
    if options.executor == 'ray':
        return RayPool(maker, workers, options.ray_address, num_gpus=float(on_gpu))
    return SupervisedPool(maker, workers)


def _sha256(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise TinyBevError(f'weights are {path} ({error.strerror}); expected a file') from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='extract',
        description=__doc__,
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
    clouds.add_argument('--topic', default='', help='PointCloud2 topic; needed where a bag has several')
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
        help='processes with one thread each (default: number of cores; 1 on a GPU)',
    )
    work.add_argument(
        '--executor',
        choices=('local', 'ray'),
        default='local',
        help='processes on this machine, or actors of a Ray cluster (default: local)',
    )
    work.add_argument(
        '--ray-address', default='', help='address of the Ray cluster (default: a new one on this machine)'
    )
    work.add_argument(
        '--shard',
        type=shard,
        default=SINGLE,
        metavar='I/N',
        help='part I of N, from 1: one part for each machine that shares the output folder',
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


def main() -> int:
    """Runs the extract executable; returns its exit code."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format='extract: %(message)s')
    try:
        return extract(options)
    except TinyBevError as error:
        print(f'extract: {error}', file=sys.stderr)
        return 1
    except OSError as error:  # such as a full disk
        print(f'extract: {options.output} cannot be written: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
