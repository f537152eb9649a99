# SPDX-License-Identifier: Apache-2.0
"""The cameras that a node looks at: what they send, in pairs with maps, and where they are."""

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
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_parameters import fixed_extrinsics
from tiny_bev_ros.nodes.extrinsics_provider import ExtrinsicsProvider
from tiny_bev_ros.runtime.staleness import to_nanoseconds
from tiny_bev_ros.runtime.stats import CameraStats
from tiny_bev_ros.runtime.subscription import SafeSubscription
from tiny_bev_ros.runtime.time_sync import ApproximateTimeSync, QueuedMessage

# Of messages that the thread of the callbacks has not taken yet, which it does at once.
_DEPTH = 5
_BLIND = 'no cell of the map is in its image; expected a pose with which it sees some'


class CameraInput(SafeSubscription):
    """A subscription whose messages wait for maps of their time: only then are they of use.

    Args:
        node: which subscribes.
        topic: of one camera.
        types: message classes by ROS type name.
        decode: makes of a message something with `stamp`, or raises TinyBevError.
        keep: gets it.
        stats: of the camera.
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
        del options['frame']
        super().__init__(node, topic, types, decode, keep, **options)

    def _handle(self, message: Any) -> None:
        try:
            shot = self._decode(message)
        except TinyBevError as error:
            self._stats.count_rejected(self._topic, error)
        except Exception:
            self._stats.count_failed(self._topic, traceback.format_exc().strip())
        else:
            self._callback(shot)


class CameraSync:
    """Lets maps look at the cameras that were there in time; none of them stops a map.

    What the inputs keep has `stamp`, `frame_id` and `camera`, in its own optical frame.

    Args:
        node: whose cameras.
        subscribe: makes the inputs of one, which have `sources` and `destroy`: gets its name, its
            stats and what keeps a message.
        view: makes of what was kept, and the camera in the frame of the map, features and their
            camera; may raise TinyBevError.
    """

    def __init__(
        self,
        node: BevNode,
        subscribe: Callable[[str, CameraStats, Callable[[Any], None]], list[Any]],
        view: Callable[[Any, Camera], View],
    ) -> None:
        self._node, self._view = node, view
        given = fixed_extrinsics(node.values)
        for name in given:
            node.cameras.setdefault(name, CameraStats(name, node.get_logger(), time.monotonic_ns))
        self._stats = {name: node.cameras[name] for name in given}
        self._mounts = ExtrinsicsProvider(node, given)
        self._sync: ApproximateTimeSync[Any] = ApproximateTimeSync(self._stats)
        self._inputs: list[Any] = []
        for name, stats in self._stats.items():
            self._inputs += subscribe(name, stats, partial(self._keep, name))

    def fuse(self, bev: Tensor, labels: TensorLabels) -> Tensor:
        """A map (1,C,h,w) float32 that has looked at the cameras; as it is where none can be used.

        Raises:
            TinyBevError: the labels of the map name no grid.
        """
        grid = grid_from_labels(labels, (bev.shape[2], bev.shape[3]))
        found = self._views(labels)
        views = [view for _, view in found.values()]
        outcomes = [('failed', '')] * len(views)
        try:
            fused, outcomes = self._node.run(
                'fusion', lambda networks: _fused(networks.fusion, bev, grid, views)
            )
        finally:
            for (name, (message, _)), (cause, _) in zip(found.items(), outcomes, strict=True):
                self._sync.report_outcome(name, message, cause)
        for name, (_, reason) in zip(found, outcomes, strict=True):
            if reason:
                self._stats[name].count_missing(reason)
        return fused

    @property
    def sources(self) -> list[str]:
        """Topics and types that they wait for."""
        return [source for each in self._inputs for source in each.sources]

    def destroy(self) -> None:
        """Ends the subscriptions, and the wait of a map."""
        self._sync.stop()
        for each in self._inputs:
            each.destroy()
        self._mounts.destroy()

    def _keep(self, name: str, shot: Any) -> None:
        self._sync.add(name, to_nanoseconds(shot.stamp), shot)

    def _views(self, labels: TensorLabels) -> dict[str, tuple[QueuedMessage[Any], View]]:
        values = self._node.values
        with self._node.timed('cameras'):
            found = self._sync.match(
                to_nanoseconds(labels.stamp or (0, 0)),
                round(values['sync.slop_ms'] * 1e6),
                values['sync.timeout_ms'] / 1e3,
            )
        views = {}
        for name, message in found.items():
            if message is None:
                continue
            try:
                views[name] = message, self._view_of(name, message.item, labels)
            except _UnusedError as unused:
                self._sync.report_outcome(name, message, unused.cause)
                self._stats[name].count_missing(str(unused))
        return views

    def _view_of(self, name: str, shot: Any, labels: TensorLabels) -> View:
        """Raises _UnusedError."""
        try:
            mount = self._mounts.at(name, labels.frame_id or '', shot.frame_id, shot.stamp)
        except TinyBevError as error:
            raise _UnusedError('no_extrinsics', str(error)) from None
        try:
            return self._view(shot, replace(shot.camera, extrinsics=mount))
        except NotEnoughMemoryError as error:
            raise _UnusedError('failed', str(error)) from None
        except TinyBevError as error:
            raise _UnusedError('rejected', str(error)) from None
        except Exception:  # of a picture, cv_bridge may raise anything
            raise _UnusedError('failed', traceback.format_exc().strip()) from None


class _UnusedError(Exception):
    """A message gave no view.

    Attributes:
        cause: of CAMERA_CAUSES.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


def _fused(
    fusion: Any, bev: Tensor, grid: BevGrid, views: list[View]
) -> tuple[Tensor, list[tuple[str, str]]]:
    """The fused map; for each view the cause, of CAMERA_CAUSES, and why it is not in it, or ''.

    Where memory is short it is the map as it is: that must not stop it either.
    """
    try:
        fused = fusion(bev, grid, views)
        blind = fusion.blind(grid, [camera for _, camera in views])
    except TinyBevError as error:
        return bev, [('failed', str(error))] * len(views)
    return fused, [
        ('not_visible', _BLIND) if index in blind else ('', '') for index in range(len(views))
    ]
