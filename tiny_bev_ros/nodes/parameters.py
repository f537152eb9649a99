# SPDX-License-Identifier: Apache-2.0
"""Every parameter of every node: its type, default, range and meaning, in one place.

config/tiny_bev.yaml lists the same; a test keeps the two equal.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.engine.engine import PRECISIONS, SPARSITIES
from tiny_bev_ros.errors import TinyBevError

Value = bool | int | float | str | list[float]


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter before a node runs.

    Attributes:
        default: its type is the parameter's type.
        low, high: inclusive ends of a number's range.
        choices: the values that a string or integer may have; empty for any.
        read_only: cannot change while the node runs.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    read_only: bool = True

    def descriptor(self) -> ParameterDescriptor:
        """The form in which ``ros2 param describe`` shows it."""
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, read_only=self.read_only
        )
        if self.choices:
            descriptor.additional_constraints = f'one of {_listed(self.choices)}'
        if self.low is None or self.high is None:
            return descriptor
        if isinstance(self.default, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
            ]
        return descriptor

    def check(self, value: Value) -> None:
        """Raises TinyBevError, naming the parameter, when ``value`` is not allowed."""
        if self.choices and value not in self.choices:
            raise TinyBevError(
                f'parameter {self.name} is {value!r}; expected one of {_listed(self.choices)}'
            )
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:  # type: ignore[operator]
            raise TinyBevError(
                f'parameter {self.name} is {value}; expected {self.low:g} to {self.high:g}'
            )


GRID = (
    Parameter('grid.x_range', [0.0, 69.12], 'forward extent of the map [min, max], m'),
    Parameter('grid.y_range', [-39.68, 39.68], 'leftward extent of the map [min, max], m'),
    Parameter('grid.z_range', [-3.0, 1.0], 'heights that count [min, max], m'),
    Parameter(
        'grid.cell', 0.16, 'side of a pillar, m; the extents are multiples of it', 1e-3, 1e3
    ),
)
CLOUD = (
    Parameter(
        'cloud.intensity_field',
        'auto',
        'field with the intensity; auto takes the first of intensity, i, reflectivity',
    ),
    Parameter(
        'cloud.intensity_scale',
        1.0,
        'factor on the intensity; 0.00392 brings 0..255 to the 0..1 of KITTI',
        1e-9,
        1e9,
    ),
    Parameter(
        'cloud.missing_intensity',
        'zero',
        'for a cloud without that field: count it as 0, or refuse the cloud',
        choices=('zero', 'error'),
    ),
    Parameter(
        'cloud.time_field', '', "field with each point's time, for pfn.in_channels 11; '' for none"
    ),
    Parameter(
        'cloud.time_scale', 1.0, 'factor on the time; 1e-9 brings nanoseconds to s', 1e-12, 1e12
    ),
)
PFN = (
    Parameter(
        'pfn.in_channels',
        10,
        'decorations of a point: 9 (centre offset x, y), 10 (also z), 11 (also time)',
        choices=(9, 10, 11),
    ),
    Parameter('pfn.out_channels', 64, 'channels of the pseudo-image', 1, 1024),
    Parameter(
        'pfn.max_points',
        0,
        'points per pillar; 0 for all, else capped and zero-padded as published weights expect',
        0,
        1024,
    ),
    Parameter(
        'pfn.legacy_offsets',
        False,
        "centre offsets in place of x, y, z: mmdetection3d's legacy=True, its KITTI default",
    ),
    Parameter(
        'pfn.checkpoint', '', "weights (.safetensors, .pt, .pth); '' for random, untrained ones"
    ),
)
BACKBONE = (
    Parameter('backbone.name', 'tiny', 'which backbone of the registry'),
    Parameter('backbone.in_channels', 64, 'channels of the pseudo-image', 1, 1024),
    Parameter('backbone.mid_channels', 64, 'channels before the stride', 1, 1024),
    Parameter('backbone.out_channels', 128, 'channels of the features', 1, 1024),
    Parameter(
        'backbone.checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '' for random, untrained ones",
    ),
)
ENGINE = (
    Parameter(
        'backbone.precision',
        'float32',
        'of the products; the features are float32 all the same',
        choices=PRECISIONS,
    ),
    Parameter(
        'backbone.sparsity',
        'auto',
        'compute only where points are: when that is cheaper (auto), always, never',
        choices=SPARSITIES,
    ),
)
COMPUTE = (
    Parameter('device', 'auto', 'auto, cpu, cuda or cuda:N; auto takes CUDA where there is one'),
    Parameter('num_threads', 0, "PyTorch's CPU threads; 0 leaves its default", 0, 256),
    Parameter('seed', 0, 'of random weights', 0, 2**31 - 1),
)
INPUT = (
    Parameter(
        'input_reliability',
        'auto',
        'QoS of the subscription; auto does as the publishers on the topic do',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        'input_depth',
        3,
        'messages that wait while one is worked on; older ones give way',
        1,
        1000,
    ),
)
TENSOR_INPUT = (
    Parameter(
        'input',
        'dense',
        'the topic that is read: pseudo_image (dense) or pillars, a thirtieth of its size',
        choices=('dense', 'pillars'),
    ),
    Parameter('frame_id', 'lidar', 'frame of input that names none'),
    Parameter('max_message_mb', 256, 'refuse larger pseudo-images, MiB', 1, 4096),
)
OUTPUT = (
    Parameter(
        'output_encoding',
        'float32',
        'of published tensors; float16 halves their size and travels as bytes',
        choices=('float32', 'float16'),
    ),
    Parameter(
        'output_depth', 1, 'published messages kept for a slow reliable subscriber', 1, 1000
    ),
)
MAP_OUTPUT = (
    Parameter(
        'region.x_range',
        [-math.inf, math.inf],
        'forward extent of what is published of the map [min, max], m',
    ),
    Parameter(
        'region.y_range',
        [-math.inf, math.inf],
        'leftward extent of what is published of the map [min, max], m',
    ),
    Parameter(
        'bev_image.channel',
        -1,
        'channel that bev_image shows; -1 for the activation strength over all',
        -1,
        1023,
        read_only=False,
    ),
)

NODES: dict[str, tuple[Parameter, ...]] = {
    'pfn_node': GRID + CLOUD + PFN + COMPUTE + INPUT + OUTPUT,
    'backbone_node': BACKBONE + ENGINE + COMPUTE + INPUT + TENSOR_INPUT + OUTPUT + MAP_OUTPUT,
    'pipeline_node': (
        GRID + CLOUD + PFN + BACKBONE + ENGINE + COMPUTE + INPUT + OUTPUT + MAP_OUTPUT
    ),
}
ALL = {parameter.name: parameter for group in NODES.values() for parameter in group}


def declare(node: Node, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Declares parameters on a node and returns their values.

    Args:
        node: gets them with description, range and read-only flag, and refuses wrong
            changes at run time.
        parameters: one of NODES.

    Raises:
        TinyBevError: a value is of the wrong type or not allowed.
    """
    values = {}
    for parameter in parameters:
        # The range is ours to check first: rclpy's own words do not name it.
        overrides = getattr(node, '_parameter_overrides', {})
        if parameter.name in overrides:
            _check_override(parameter, overrides[parameter.name])
        try:
            declared = node.declare_parameter(
                parameter.name, parameter.default, parameter.descriptor()
            )
        except ParameterException as error:
            raise TinyBevError(f'parameter {parameter.name}: {error}') from None
        values[parameter.name] = _plain(declared.value)
    by_name = {parameter.name: parameter for parameter in parameters}
    node.add_on_set_parameters_callback(lambda changes: _check_changes(by_name, changes))
    _warn_of_unknown(node)
    return values


def _check_override(parameter: Parameter, override: RosParameter) -> None:
    wanted = RosParameter.Type.from_parameter_value(parameter.default)
    if override.type_ != wanted:
        raise TinyBevError(
            f'parameter {parameter.name} is {_plain(override.value)!r} ({override.type_.name}); '
            f'expected {wanted.name}, as in {parameter.default!r}'
        )
    parameter.check(override.value)


def _check_changes(
    by_name: dict[str, Parameter], changes: list[RosParameter]
) -> SetParametersResult:
    try:
        for change in changes:
            if change.name in by_name:
                by_name[change.name].check(change.value)
    except TinyBevError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _warn_of_unknown(node: Node) -> None:
    """Tells of names in the YAML that no node of the package has: most are misspelt."""
    known = {*ALL, 'use_sim_time', 'start_type_description_service'}
    for name in getattr(node, '_parameter_overrides', {}):
        if name in known or name.startswith('qos_overrides.'):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean {close[0]}?' if close else ''
        node.get_logger().warning(f'parameter {name} is not known and has no effect{hint}')


def _plain(value: Any) -> Any:
    """Arrays as lists; everything else as it is."""
    return list(value) if hasattr(value, 'typecode') else value


def _listed(choices: tuple[Any, ...]) -> str:
    return ', '.join(str(choice) for choice in choices)
