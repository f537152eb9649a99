# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Configuration of an extraction: parameters of the workers, and the manifest."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import tiny_bev_ros
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.frame_outputs import OutputOptions
from tiny_bev_ros.extraction.work_units import RUN_FRAMES, Survey
from tiny_bev_ros.file_digest import file_sha256
from tiny_bev_ros.inference.exported_builder import (
    RUNTIMES,
    choose_device,
    exported_files,
    open_exported,
)
from tiny_bev_ros.inference.exported_runners import FEATURES
from tiny_bev_ros.inference.precision import dtype_name, requested_dtype
from tiny_bev_ros.nodes.model_factory import CHECKPOINTS, parameter_context
from tiny_bev_ros.nodes.parameter_definitions.messages_io import OUTPUT
from tiny_bev_ros.nodes.parameter_definitions.networks import DRIVABLE_AREA, WEIGHTS
from tiny_bev_ros.nodes.parameter_definitions.operation import (
    DIAGNOSTICS,
    LIFECYCLE,
    LOWER_PRECISION,
)
from tiny_bev_ros.nodes.parameter_files import read_parameters, refuse_foreign_files
from tiny_bev_ros.resources import config_file

_NODE = 'pipeline_node'
_EXPORTED = 'backbone.exported_network'
# Parameters that have no effect here, or whose effect the manifest holds in another entry: the
# weights and an exported network by their SHA-256, the device by its kind.
_LEFT_OUT = {
    *(
        parameter.name
        for group in (WEIGHTS, OUTPUT, DRIVABLE_AREA, LOWER_PRECISION, LIFECYCLE, DIAGNOSTICS)
        for parameter in group
    ),
    *CHECKPOINTS.values(),
    _EXPORTED,
    'bev_image.channel',
    'device',
    'input_reliability',
    'max_age_ms',
    'memory_budget_mb',
    'memory_fallback.allow_cpu',
}
# Libraries on whose version the last bits of results depend.
_LIBRARIES = ('numba', 'numpy', 'torch')


def read_values(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the parameters of pipeline_node that the arguments of the program give.

    Raises:
        TinyBevError: a file or a value is wrong.
    """
    preset = [config_file(f'grids/{options.grid}.yaml')] if options.grid else []
    files = [*options.params_file, *preset]
    given: dict[str, Any] = {}
    if options.region:
        x_low, x_high, y_low, y_high = options.region
        given |= {'output_roi.x_range': [x_low, x_high], 'output_roi.y_range': [y_low, y_high]}
    refuse_foreign_files(_NODE, options.params_file)
    values = read_parameters(_NODE, files, given, weights=options.weights)
    return {
        **values,
        # Workers of a cluster have other working folders.
        **{name: _absolute(values[name]) for name in (*CHECKPOINTS.values(), _EXPORTED)},
        'device': _resolved_device(values, options.executor),
        # Results must not depend on the number of workers, so each computes with one thread.
        'num_threads': values['num_threads'] or 1,
    }


def check_exported_network(outputs: OutputOptions, values: dict[str, Any]) -> None:
    """Checks that there are BEV features, if they are asked for.

    Args:
        outputs: outputs that are written.
        values: parameters of pipeline_node, by name.

    Raises:
        TinyBevError: an exported network computes the heads as well, or cannot be opened.
    """
    if 'features' not in outputs.what or not values[_EXPORTED]:
        return
    with parameter_context('backbone.'):
        network = open_exported(Path(values[_EXPORTED]), threads=1)
    if network.output_names != [FEATURES]:
        raise TinyBevError(
            f'--what is {",".join(outputs.what)}; expected no features, as '
            f'{_EXPORTED} computes the heads as well'
        )


def make_manifest(
    options: argparse.Namespace,
    values: dict[str, Any],
    outputs: OutputOptions,
    surveys: Sequence[Survey],
) -> dict[str, Any]:
    """Returns everything that determines the outputs.

    Raises:
        TinyBevError: a weight file cannot be read.
    """
    return {
        'version': tiny_bev_ros.__version__,
        'libraries': dict(_library_versions(outputs, values)),
        'device': torch.device(values['device']).type,
        'compute_dtype': _compute_dtype(values),
        'parameters': {name: each for name, each in values.items() if name not in _LEFT_OUT},
        'weights': {name: _weights_digest(path) for name, path in _weight_files(values)},
        'outputs': {
            'what': list(outputs.what),
            'format': outputs.format,
            'dtype': outputs.dtype,
        },
        'topic': options.topic,
        'every': options.every,
        'frames_of_a_run': RUN_FRAMES,
        'bags': {survey.name: found for survey in surveys if (found := describe_bag(survey.path))},
    }


def describe_bag(path: str) -> dict[str, Any] | None:
    """Returns path of a bag, and sizes and times of its files: a changed bag differs in them.

    None where they cannot be read: the survey of this bag reports the reason.
    """
    bag = Path(path)
    try:
        files = sorted(bag.iterdir()) if bag.is_dir() else [bag]
        stats = {file.name: file.stat() for file in files if file.is_file()}
    except OSError:
        return None
    return {
        'path': path,
        'files': {
            name: {'bytes': each.st_size, 'mtime_ns': each.st_mtime_ns}
            for name, each in stats.items()
        },
    }


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ''


def _resolved_device(values: dict[str, Any], executor: str) -> str:
    """Returns the device of all workers: `auto` is decided here, once for all of them.

    A GPU by name may be one of the Ray cluster, which this machine need not have.

    Raises:
        TinyBevError: the device is unknown, or does not work here and is used here.
    """
    name = str(values['device'])
    elsewhere = executor == 'ray' and not values[_EXPORTED]
    if elsewhere and re.fullmatch(r'cuda(:[0-9]+)?', name):
        return name
    device = choose_device(name, values[_EXPORTED])
    return device.type if name == 'auto' else name


def _compute_dtype(values: dict[str, Any]) -> str | None:
    """Returns the name of the compute dtype; auto where only the Ray cluster knows it.

    None with an exported network, which has its own, and whose digest is compared.
    """
    if values[_EXPORTED]:
        return None
    device, precision = torch.device(values['device']), str(values['backbone.precision'])
    if device.type == 'cuda' and not torch.cuda.is_available():
        return precision
    return dtype_name(requested_dtype(precision, device))


def _library_versions(outputs: OutputOptions, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the versions of libraries that determine results or files; None without one."""
    for name in _LIBRARIES:
        yield name, _version(name)
    if runtime := RUNTIMES.get(Path(values[_EXPORTED]).suffix):
        yield runtime.runtime, _version(runtime.runtime)
    if outputs.format == 'parquet':
        yield 'pyarrow', _version('pyarrow')
    if outputs.format != 'mcap':
        yield 'safetensors', _version('safetensors')
    else:
        from tiny_bev_ros.messages.detections import vision_msgs

        # Packages of ROS need not have metadata; with this one there is one more topic.
        yield 'vision_msgs', vision_msgs() is not None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _weight_files(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields parameter and path of each file of weights, those of an exported network among them.

    The weights of an OpenVINO file are in a second one beside it.
    """
    for name in (*CHECKPOINTS.values(), _EXPORTED):
        if values[name]:
            yield name, values[name]
    for file in exported_files(Path(values[_EXPORTED]))[1:]:
        yield f'{_EXPORTED} ({file.suffix})', str(file)


def _weights_digest(path: str) -> str:
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise TinyBevError(f'weights are {path} ({error.strerror}); expected a file') from None
