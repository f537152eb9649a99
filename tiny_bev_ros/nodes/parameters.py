# SPDX-License-Identifier: Apache-2.0
"""Every parameter of every node: its type, default, range and meaning, in one place.

config/tiny_bev.yaml lists the same; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_runner import PRECISIONS, SPARSITIES
from tiny_bev_ros.models import list_heads
from tiny_bev_ros.models.fusion.futr import MODES
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.resources import WEIGHTS as SHIPPED

Value = bool | int | float | str | list[int] | list[float] | list[str]


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter before a node runs.

    Attributes:
        default: its type is the parameter's type.
        low, high: inclusive ends of a number's range.
        choices: the values that a string, an integer or each of a list may have; empty for any.
        changes: when it may: 'never' while the node runs, while it is 'unconfigured', 'always'.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    changes: str = 'unconfigured'

    def descriptor(self) -> ParameterDescriptor:
        """The form in which ``ros2 param describe`` shows it."""
        constraints = [f'one of {_listed(self.choices)}'] if self.choices else []
        if self.changes == 'unconfigured':
            constraints.append('changes only while the node is unconfigured')
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            read_only=self.changes == 'never',
            # Else rclpy refuses [], whose type nobody can tell.
            dynamic_typing=isinstance(self.default, list),
            additional_constraints='; '.join(constraints),
        )
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
        if isinstance(value, list) and self.choices:
            if set(value) - set(self.choices) or len(set(value)) < len(value):
                raise TinyBevError(
                    f'parameter {self.name} is {value!r}; '
                    f'expected some of {_listed(self.choices)}, each once'
                )
        elif self.choices and value not in self.choices:
            raise TinyBevError(
                f'parameter {self.name} is {value!r}; expected one of {_listed(self.choices)}'
            )
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:  # type: ignore[operator]
            raise TinyBevError(
                f'parameter {self.name} is {value}; expected {self.low:g} to {self.high:g}'
            )


WEIGHTS = (
    Parameter(
        'weights',
        'auto',
        'shipped weights, whose network and map are then defaults; auto: street, unless other '
        'values of these are set; none: random weights',
        choices=('auto', 'none', *SHIPPED),
        changes='never',
    ),
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
        'for a cloud without that field, or where all of it is NaN: count it as 0, or refuse it',
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
        'pfn.checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '' for random, untrained ones; set again to reload",
        changes='always',
    ),
)
FEATURES = (Parameter('backbone.out_channels', 128, 'channels of the features', 1, 1024),)
BACKBONE = (
    Parameter('backbone.name', 'tiny', 'which backbone of the registry'),
    Parameter('backbone.in_channels', 64, 'channels of the pseudo-image', 1, 1024),
    Parameter('backbone.mid_channels', 64, 'channels before the stride', 1, 1024),
    *FEATURES,
    Parameter(
        'backbone.checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '' for random, untrained ones; set again to reload",
        changes='always',
    ),
)
ENGINE = (
    Parameter(
        'backbone.precision',
        'float32',
        'of the products; the features are float32 all the same',
        choices=PRECISIONS,
        changes='always',
    ),
    Parameter(
        'backbone.sparsity',
        'auto',
        'compute only where points are: when that is cheaper (auto), always, never',
        choices=SPARSITIES,
        changes='always',
    ),
)
HEADS = (
    Parameter(
        'heads',
        list_heads(),
        'what is looked for in the features, once somebody subscribes to it',
        choices=tuple(list_heads()),
    ),
    Parameter(
        'heads_checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '' for random, untrained ones; set again to reload",
        changes='always',
    ),
    *(
        Parameter(
            f'detection.min_score.{name}',
            0.3,
            f'least score of a {name} that is published',
            0.0,
            1.0,
            changes='always',
        )
        for name in CLASSES
    ),
    Parameter(
        'drivable_area.durability',
        'transient_local',
        'QoS of that topic; transient_local also serves those who ask for volatile',
        choices=('transient_local', 'volatile'),
    ),
)
CAMERA_FEATURES = (
    Parameter('camera.channels', 64, 'channels of the features of a camera', 1, 1024),
)
CAMERA = (
    Parameter(
        'camera.encoder', 'tiny', 'tiny, or a network of timm, where that package is installed'
    ),
    *CAMERA_FEATURES,
    Parameter('camera.stride', 8, 'pixels per feature, as far as the encoder has that', 1, 64),
    Parameter(
        'camera.checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '' for random, untrained ones; set again to reload",
        changes='always',
    ),
    Parameter(
        'camera.image_size',
        [0, 0],
        'width to scale images to, height of what is kept from below, pixels; 0: as it comes',
    ),
)
CAMERAS = (
    Parameter(
        'cameras',
        [''],
        "names of the cameras, before their topics and in extrinsics.NAME; '' for none",
    ),
    Parameter(
        'max_stamp_difference_ms',
        50.0,
        'how far the stamps of a map and of a camera may be apart, ms',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'max_wait_ms',
        50.0,
        'how long a map waits for cameras that are behind it, ms',
        0.0,
        1e4,
        changes='always',
    ),
)
FUSION = (
    Parameter(
        'fusion.mode',
        'projected',
        'where a cell looks: where it is seen (projected), or everywhere (global)',
        choices=MODES,
    ),
    Parameter('fusion.heads', 4, 'of the attention; the channels are a multiple', 1, 64),
    Parameter(
        'fusion.heights',
        [-1.5, -0.5, 0.5, 1.5],
        'of the places above a cell that are looked at, from the origin of the frame, m',
    ),
    Parameter(
        'fusion.checkpoint',
        '',
        "weights (.safetensors, .pt, .pth); '': cameras add nothing to maps; set again to reload",
        changes='always',
    ),
)
COMPUTE = (
    Parameter('device', 'auto', 'auto, cpu, cuda or cuda:N; auto takes CUDA where there is one'),
    Parameter('num_threads', 0, "PyTorch's CPU threads; 0 leaves its default", 0, 256),
    Parameter('seed', 0, 'of random weights', 0, 2**31 - 1),
    Parameter(
        'memory_budget_mb',
        0,
        'MiB of a CUDA device that PyTorch may take; 0 for all there is',
        0,
        2**20,
    ),
    Parameter(
        'when_memory_is_short.cpu', True, 'compute on the CPU where that of the device is short'
    ),
)
PRECISION_WHEN_SHORT = (
    Parameter(
        'when_memory_is_short.bfloat16',
        False,
        'compute in bfloat16 where memory is short for float32',
    ),
)
INPUT = (
    Parameter(
        'input_reliability',
        'auto',
        'QoS of the subscription; auto does as the publishers on the topic do',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        'max_age_ms',
        0.0,
        'input older by its own stamp, or further ahead, is dropped, ms; 0 for any age',
        0.0,
        1e9,
        changes='always',
    ),
    Parameter('max_message_mb', 256, 'refuse larger input, MiB', 1, 4096),
)
TENSOR_INPUT = (Parameter('frame_id', 'lidar', 'frame of input that names none'),)
PILLAR_INPUT = (
    Parameter(
        'input',
        'dense',
        'the topic that is read: pseudo_image (dense) or pillars, a thirtieth of its size',
        choices=('dense', 'pillars'),
    ),
)
OUTPUT = (
    Parameter(
        'output_encoding',
        'float32',
        'of published tensors; float16 halves their size and travels as bytes',
        choices=('float32', 'float16'),
        changes='always',
    ),
    Parameter(
        'output_depth', 1, 'published messages kept for a slow reliable subscriber', 1, 1000
    ),
)
MAP_OUTPUT = (
    Parameter(
        'region.x_range',
        [0.0, 0.0],
        'forward extent of what is published of the map [min, max], m; [0, 0] for all of it',
        changes='always',
    ),
    Parameter(
        'region.y_range',
        [0.0, 0.0],
        'leftward extent of what is published of the map [min, max], m; [0, 0] for all of it',
        changes='always',
    ),
    Parameter(
        'bev_image.channel',
        -1,
        'channel that bev_image shows; -1 for the activation strength over all',
        -1,
        1023,
        changes='always',
    ),
)
LIFE = (
    Parameter(
        'autostart',
        True,
        'configure and activate at the start; false where a lifecycle manager does it',
        changes='never',
    ),
)
HEALTH = (
    Parameter(
        'diagnostics.input_timeout_s',
        2.0,
        'without input for longer is an error, s; 0 for any time',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.latency_warn_ms',
        0.0,
        'from arrival to output at 95 %, above which is a warning, ms; 0 for none',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.latency_error_ms',
        0.0,
        'the same, above which is an error, ms; 0 for none',
        0.0,
        1e6,
        changes='always',
    ),
    Parameter(
        'diagnostics.rate_warn_hz',
        0.0,
        'outputs a second below which is a warning, while somebody subscribes, Hz; 0 for none',
        0.0,
        1e4,
        changes='always',
    ),
    Parameter(
        'diagnostics.rate_error_hz',
        0.0,
        'the same, below which is an error, Hz; 0 for none',
        0.0,
        1e4,
        changes='always',
    ),
    Parameter(
        'diagnostics.dropped_warn_share',
        0.5,
        'share of wanted input that is dropped, above which is a warning; 1 for none',
        0.0,
        1.0,
        changes='always',
    ),
    Parameter(
        'diagnostics.dropped_error_share',
        0.95,
        'the same, above which is an error; 1 for none',
        0.0,
        1.0,
        changes='always',
    ),
)

NODES: dict[str, tuple[Parameter, ...]] = {
    'pfn_node': WEIGHTS + GRID + CLOUD + PFN + COMPUTE + INPUT + OUTPUT + LIFE + HEALTH,
    'backbone_node': (
        WEIGHTS
        + BACKBONE
        + ENGINE
        + COMPUTE
        + PRECISION_WHEN_SHORT
        + INPUT
        + PILLAR_INPUT
        + TENSOR_INPUT
        + OUTPUT
        + MAP_OUTPUT
        + LIFE
        + HEALTH
    ),
    'camera_node': CAMERA + COMPUTE + INPUT + OUTPUT + LIFE + HEALTH,
    'fusion_node': (
        WEIGHTS
        + FEATURES
        + CAMERA_FEATURES
        + CAMERAS
        + FUSION
        + COMPUTE
        + INPUT
        + TENSOR_INPUT
        + OUTPUT
        + LIFE
        + HEALTH
    ),
    'heads_node': WEIGHTS + FEATURES + HEADS + COMPUTE + INPUT + TENSOR_INPUT + LIFE + HEALTH,
    'pipeline_node': (
        WEIGHTS
        + GRID
        + CLOUD
        + PFN
        + BACKBONE
        + HEADS
        + CAMERAS
        + CAMERA
        + FUSION
        + ENGINE
        + COMPUTE
        + PRECISION_WHEN_SHORT
        + INPUT
        + OUTPUT
        + MAP_OUTPUT
        + LIFE
        + HEALTH
    ),
}
ALL = {parameter.name: parameter for group in NODES.values() for parameter in group}


def _listed(choices: tuple[Any, ...]) -> str:
    return ', '.join(str(choice) for choice in choices)
