# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Synchronizes cameras with BEV features, and fuses the features of both."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.fusion_runner import View
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.messages.tensor_labels import TensorLabels, grid_from_labels
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.levelling import Levelling
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_parameters import fixed_extrinsics
from tiny_bev_ros.nodes.extrinsics_provider import ExtrinsicsProvider
from tiny_bev_ros.runtime.staleness import to_nanoseconds
from tiny_bev_ros.runtime.stats import CameraStats
from tiny_bev_ros.runtime.subscription import SafeSubscription
from tiny_bev_ros.runtime.time_sync import ApproximateTimeSync, QueuedMessage

# Queue depth: the callback only decodes a message, so few wait.
_DEPTH = 5
_BLIND = 'no cell of the map is in its image; expected a pose from which some are visible'


class CameraInput(SafeSubscription):
    """Subscription to one camera, whose messages wait for a map of their time.

    Args:
        node: node that subscribes.
        topic: topic of the camera.
        types: message classes by ROS type name.
        decode: turns a message into an object with `stamp`; may raise TinyBevError.
        keep: receives the decoded message.
        stats: counts of the camera's messages.
    """

    def __init__(
        self,
        node: BevNode,
        topic: str,
        types: dict[str, type],
        decode: Callable[[Any], Any],
        keep: Callable[[Any], None],
        stats: CameraStats,
    ) -> None:
        options = node.input_options() | {'stats': stats, 'depth': _DEPTH}
        options['is_active'] = lambda: node.has_subscribers
        del options['frame']
        super().__init__(node, topic, types, decode, keep, **options)

    def _handle(self, message: Any) -> None:
        try:
            decoded = self._decode(message)
        except TinyBevError as error:
            self._stats.count_rejected(self._topic, error)
        except Exception:
            self._stats.count_failed(self._topic, traceback.format_exc().strip())
        else:
            self._callback(decoded)


class CameraSync:
    """Fuses BEV features with the cameras that have a message of their time.

    No camera stops a map: a camera without a usable message is left out and counted. Decoded
    messages have `stamp`, `frame_id` and `camera`, in the camera's own optical frame.

    Args:
        node: node with the cameras.
        subscribe: makes the subscriptions of one camera from its name, its counts and the
            callback that keeps a decoded message.
        encode: turns a decoded message, and its camera in the frame of the map, into camera
            features and their camera; may raise TinyBevError.
    """

    def __init__(
        self,
        node: BevNode,
        subscribe: Callable[[str, CameraStats, Callable[[Any], None]], list[Any]],
        encode: Callable[[Any, Camera], View],
    ) -> None:
        self._node, self._encode = node, encode
        given = fixed_extrinsics(node.values)
        for name in given:
            node.cameras.setdefault(name, CameraStats(name, node.get_logger(), time.monotonic_ns))
        self._stats = {name: node.cameras[name] for name in given}
        self._extrinsics = ExtrinsicsProvider(node, given)
        self._sync: ApproximateTimeSync[Any] = ApproximateTimeSync(self._stats)
        self._subscriptions: list[Any] = []
        for name, stats in self._stats.items():
            self._subscriptions += subscribe(name, stats, partial(self._keep, name))

    def fuse(
        self, bev: Tensor, labels: TensorLabels, levelling: Levelling | None = None
    ) -> Tensor:
        """Returns fused features (1,C,h,w); ``bev`` itself without a usable camera.

        Args:
            bev: BEV features (1,C,h,w) of a float dtype.
            labels: labels of the BEV features.
            levelling: transform from the frame of the labels to that of the features.

        Raises:
            TinyBevError: the labels name no grid.
        """
        grid = grid_from_labels(labels, (bev.shape[2], bev.shape[3]))
        used = self._views(labels, levelling)
        views = [view for _, view in used.values()]
        outcomes = [('failed', '')] * len(views)
        try:
            fused, outcomes = self._node.run(
                'fusion', lambda networks: _fused(networks.fusion, bev, grid, views)
            )
        finally:
            for (name, (message, _)), (cause, _) in zip(used.items(), outcomes, strict=True):
                self._sync.report_outcome(name, message, cause)
        for name, (_, reason) in zip(used, outcomes, strict=True):
            if reason:
                self._stats[name].count_missing(reason)
        return fused

    @property
    def sources(self) -> list[str]:
        """Topics and types to which it subscribes."""
        return [source for each in self._subscriptions for source in each.sources]

    def destroy(self) -> None:
        """Ends the subscriptions, and the wait of a map in progress."""
        self._sync.stop()
        for each in self._subscriptions:
            each.destroy()
        self._extrinsics.destroy()

    def _keep(self, name: str, decoded: Any) -> None:
        self._sync.add(name, to_nanoseconds(decoded.stamp), decoded)

    def _views(
        self, labels: TensorLabels, levelling: Levelling | None
    ) -> dict[str, tuple[QueuedMessage[Any], View]]:
        values = self._node.values
        with self._node.timed('cameras'):
            taken = self._sync.match(
                to_nanoseconds(labels.stamp or (0, 0)),
                round(values['sync.slop_ms'] * 1e6),
                values['sync.timeout_ms'] / 1e3,
            )
        views = {}
        for name, message in taken.items():
            if message is None:
                continue
            try:
                views[name] = message, self._view(name, message.item, labels, levelling)
            except _UnusedError as unused:
                self._sync.report_outcome(name, message, unused.cause)
                self._stats[name].count_missing(str(unused))
        return views

    def _view(
        self, name: str, decoded: Any, labels: TensorLabels, levelling: Levelling | None
    ) -> View:
        """Returns features and camera of one message; raises _UnusedError."""
        try:
            extrinsics = self._extrinsics.lookup(
                name, labels.frame_id or '', decoded.frame_id, decoded.stamp
            )
        except TinyBevError as error:
            raise _UnusedError('no_extrinsics', str(error)) from None
        if levelling is not None:
            extrinsics = levelling.extrinsics(extrinsics)
        try:
            return self._encode(decoded, replace(decoded.camera, extrinsics=extrinsics))
        except NotEnoughMemoryError as error:
            raise _UnusedError('failed', str(error)) from None
        except TinyBevError as error:
            raise _UnusedError('rejected', str(error)) from None
        except Exception:  # cv_bridge may raise anything over an image
            raise _UnusedError('failed', traceback.format_exc().strip()) from None


class _UnusedError(Exception):
    """A message of a camera was not used.

    Attributes:
        cause: one of CAMERA_CAUSES.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


def _fused(
    fusion: Any, bev: Tensor, grid: BevGrid, views: list[View]
) -> tuple[Tensor, list[tuple[str, str]]]:
    """Returns fused features and, for each view, cause and reason why it is not in them, or ''.

    The causes are those of CAMERA_CAUSES. Where memory is short the result is ``bev``: a
    shortage must not stop a map either.
    """
    try:
        fused = fusion(bev, grid, views)
        blind = fusion.cameras_without_cells(grid, [camera for _, camera in views])
    except TinyBevError as error:
        return bev, [('failed', str(error))] * len(views)
    return fused, [
        ('not_visible', _BLIND) if index in blind else ('', '') for index in range(len(views))
    ]
