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
import logging
import os
import sys
import time
from contextlib import closing
from typing import Any

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.cloud_worker import CloudWorkerFactory
from tiny_bev_ros.extraction.configuration import (
    check_exported_network,
    make_manifest,
    read_values,
)
from tiny_bev_ros.extraction.extract_options import make_parser
from tiny_bev_ros.extraction.frame_outputs import OutputOptions, check_heads, check_packages
from tiny_bev_ros.extraction.output_manifest import known_bags, open_output
from tiny_bev_ros.extraction.pool_events import WorkerPool
from tiny_bev_ros.extraction.progress import ExtractionProgress, Summary
from tiny_bev_ros.extraction.ray_pool import RayPool
from tiny_bev_ros.extraction.scheduler import Scheduler
from tiny_bev_ros.extraction.supervised_pool import SupervisedPool
from tiny_bev_ros.extraction.work_units import plan_surveys
from tiny_bev_ros.nodes.model_factory import make_grid, make_output_roi
from tiny_bev_ros.program_exit import reports_errors


def extract(options: argparse.Namespace) -> int:
    """Runs an extraction; returns the exit code.

    Args:
        options: arguments of the program.

    Raises:
        TinyBevError: an argument, a parameter or the output folder cannot be used, or the disk
            is full.
    """
    began = time.monotonic()
    values = read_values(options)
    what = tuple(sorted(set(options.what.split(','))))
    roi = make_output_roi(values, make_grid(values))
    outputs = OutputOptions(what, options.format, options.dtype, roi)
    check_heads(outputs, values['heads.names'])
    check_packages(outputs)
    check_exported_network(outputs, values)
    surveys = plan_surveys(options.bags, known_bags(options.output))
    summary, progress = Summary(), ExtractionProgress()
    manifest = make_manifest(options, values, outputs, surveys)
    with open_output(options.output, manifest, options.shard, options.overwrite) as folder:
        for unit in folder.verify(surveys, progress.verified) if options.verify else ():
            progress.warn(f'{unit.key}: {unit.reason}; it is computed again')
        maker = CloudWorkerFactory(values, options.topic, options.every, outputs, folder)
        with closing(make_pool(options, values, maker)) as pool, closing(progress):
            scheduler = Scheduler(pool, folder, progress, options.retries)
            for outcome in scheduler.outcomes(surveys):
                summary.add(outcome)
                for remark in (outcome.result or {}).get('remarks', ()):
                    progress.warn(f'{outcome.unit.path}: {remark}')
    print(summary.table(time.monotonic() - began))
    return 2 if summary.failures else 0


def make_pool(
    options: argparse.Namespace, values: dict[str, Any], maker: CloudWorkerFactory
) -> WorkerPool:
    """Makes the pool of workers, on this machine or on Ray.

    Raises:
        TinyBevError: the device or Ray cannot be used.
    """
    on_gpu = values['device'] != 'cpu'
    if options.executor == 'ray':
        return RayPool(
            maker, options.workers, options.ray_address, float(on_gpu), values['num_threads']
        )
    # One worker keeps a GPU busy; several would need its memory several times.
    workers = options.workers or (1 if on_gpu else len(os.sched_getaffinity(0)))
    return SupervisedPool(maker, workers)


@reports_errors('extract')
def main() -> int:
    """Runs the extract executable; returns its exit code."""
    options = make_parser(__doc__).parse_args()
    logging.basicConfig(level=logging.WARNING, format='extract: %(message)s')
    try:
        return extract(options)
    except OSError as error:  # such as a full disk
        raise TinyBevError(f'{options.output} cannot be written: {error}') from error


if __name__ == '__main__':
    sys.exit(main())
