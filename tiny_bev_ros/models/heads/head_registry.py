# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Registry of heads by name.

A head is a subclass of `Head` in a module of its own, which `tiny_bev_ros.models` imports. It owns
its network, its training targets, its loss and the decoding of its maps, in a part for the device
and a part for the host; the publisher of its outputs is part of ROS and registers itself under the
same name in `tiny_bev_ros.nodes`. A `BoxHead`, the second stage, takes the objects of the
detection head and the points near them in place of BEV features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models.heads.box_crops import BoxCrops
from tiny_bev_ros.models.heads.box_ops import nms_bev
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.registry import register_in


@dataclass(frozen=True)
class FrameLabels:
    """Ground truth of one frame, from which heads compute their training targets.

    Attributes:
        points: (N,4) float32 x, y, z, intensity of the points within the grid.
        ground: (N,) bool, true for points that are known to lie on the ground.
        boxes: (O,7) float32 boxes of the objects, see `box_ops`.
        labels: (O,) int64 class of each object.
        ignored: (O,) bool, true for objects that are neither required nor counted as wrong where
            they are detected.
        is_drivable: function of x and y in metres, arrays of equal shape, that returns a bool
            array, true on road surface; None where the road is unknown.
        exact_boxes: false for boxes that only tell where objects are.
    """

    points: np.ndarray
    ground: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    is_drivable: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    exact_boxes: bool = True


@dataclass(frozen=True)
class DecodeOptions:
    """Options that may change from frame to frame; each head reads those it needs.

    Attributes:
        min_scores: lowest score of a reported object, for each class of the detection head.
        nms: function that removes overlapping boxes, with arguments and result of `nms_bev`.
    """

    min_scores: tuple[float, ...] = ()
    nms: Callable[[Tensor, Tensor, Tensor, float], Tensor] = nms_bev


class Head(nn.Module, ABC):
    """One task on BEV features.

    The constructor takes ``in_channels`` and keywords with defaults. Maps and targets are a tensor
    or a NamedTuple of tensors whose first dimension is the batch.

    Attributes:
        in_channels: number of channels of the features.
        output_type: class of the output of one frame, which publishers expect.
    """

    in_channels: int
    output_type: ClassVar[type]

    @abstractmethod
    def forward(self, features: Tensor) -> Any:
        """Computes float32 maps from features (B,C,h,w)."""

    @staticmethod
    @abstractmethod
    def targets(labels: FrameLabels, grid: BevGrid) -> Any:
        """Computes the targets of one frame, without a batch dimension.

        Args:
            labels: ground truth.
            grid: grid of the features.
        """

    @staticmethod
    @abstractmethod
    def loss(maps: Any, targets: Any) -> dict[str, Tensor]:
        """Computes the named parts of the loss, whose sum is minimised.

        Args:
            maps: output of `forward` for a batch.
            targets: targets of the same frames, stacked.
        """

    @abstractmethod
    def select(self, maps: Any) -> Tensor:
        """Selects what `finish` needs of the maps, on their device.

        Nothing in it may wait for the device, and shapes must not depend on values: on CUDA it is
        recorded in one graph with `forward`.

        Args:
            maps: output of `forward`.

        Returns:
            (B,...) float32, which is copied to the host.
        """

    @staticmethod
    @abstractmethod
    def finish(selected: Tensor, grid: BevGrid, options: DecodeOptions) -> Any:
        """Turns the selection of one frame into its ``output_type``, on the CPU.

        Args:
            selected: one frame of the result of `select`, on the CPU.
            grid: grid of the features.
            options: options of this frame.

        Raises:
            TinyBevError: an option is not allowed.
        """


class BoxHead(nn.Module, ABC):
    """Second stage: changes boxes and scores of detected objects by the points near them.

    The constructor takes keywords with defaults. It runs on the CPU, where objects and points are.
    """

    @abstractmethod
    def forward(self, crops: BoxCrops, detections: Detections) -> Detections:
        """Returns the changed objects, in the order of the given ones.

        Args:
            crops: points near each object, see `crop_axes`.
            detections: N objects of the detection head, x and y relative to the sensor.
        """


_Head = TypeVar('_Head', bound=type[Head] | type[BoxHead])
_HEADS: dict[str, type[Head] | type[BoxHead]] = {}


def register_head(name: str) -> Callable[[_Head], _Head]:
    """Class decorator: registers a head under a name.

    Raises:
        TinyBevError: the name is taken.
    """
    return register_in(_HEADS, 'head', name)


def list_heads() -> list[str]:
    """Returns the names of all registered heads on BEV features, sorted."""
    return sorted(name for name, kind in _HEADS.items() if issubclass(kind, Head))


def head_class(name: str) -> type[Head]:
    """Returns the class of a head on BEV features that is registered under a name.

    Raises:
        TinyBevError: the name is not registered.
    """
    kind = _HEADS.get(name)
    if kind is None or not issubclass(kind, Head):
        raise TinyBevError(f'head is {name!r}; expected one of {", ".join(list_heads())}')
    return kind


def build_heads(names: Sequence[str], in_channels: int) -> nn.ModuleDict:
    """Builds heads by name, with freshly initialised weights.

    Args:
        names: registered names, each at most once; that of a second stage may be among them.
        in_channels: number of channels of the features.

    Raises:
        TinyBevError: a name is not registered.
    """
    heads: dict[str, nn.Module] = {}
    for name in names:
        kind = _HEADS.get(name, Head)
        if issubclass(kind, BoxHead):
            heads[name] = kind()
        else:
            heads[name] = head_class(name)(in_channels=in_channels)
    return nn.ModuleDict(heads)


def map_heads(heads: nn.ModuleDict) -> dict[str, Head]:
    """Returns the heads on BEV features, by name: those without the second stage."""
    return {name: head for name, head in heads.items() if isinstance(head, Head)}


def box_head(heads: nn.ModuleDict) -> BoxHead | None:
    """Returns the second stage of heads by name; None without one."""
    return next((head for head in heads.values() if isinstance(head, BoxHead)), None)


def compute_targets(names: Iterable[str], labels: FrameLabels, grid: BevGrid) -> dict[str, Any]:
    """Computes the training targets of one frame, by head; see `Head.targets`."""
    return {name: head_class(name).targets(labels, grid) for name in names}


def stack_targets(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stacks the targets of frames to those of a batch, by head."""
    return {name: _stack([frame[name] for frame in frames]) for name in frames[0]}


def compute_losses(maps: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
    """Computes the parts of the loss of all heads, named ``head.part``.

    Args:
        maps: output of each head for a batch.
        targets: stacked targets by head, of these heads at least.
    """
    return {
        f'{name}.{part}': value
        for name, head_maps in maps.items()
        for part, value in head_class(name).loss(head_maps, targets[name]).items()
    }


def map_tensors(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """Applies a function to each tensor of a tensor, a NamedTuple or a dict of them."""
    if isinstance(values, Tensor):
        return function(values)
    if isinstance(values, dict):
        return {key: map_tensors(function, value) for key, value in values.items()}
    return type(values)(*(map_tensors(function, value) for value in values))


def _stack(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    return type(values[0])(*(torch.stack(tensors) for tensors in zip(*values, strict=True)))
