# SPDX-License-Identifier: Apache-2.0
"""The subscription to `pseudo_image`, `pillars` or `bev_features`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from tiny_bev_ros.client import TENSOR_TYPES
from tiny_bev_ros.messages.pillar_tensor import PillarTensor, decode_pillars
from tiny_bev_ros.messages.tensor import BevTensor, decode_tensor
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.runtime.subscription import LatestInput

# Reader of each topic.
_READERS: dict[str, Any] = {
    'pseudo_image': decode_tensor,
    'pillars': decode_pillars,
    'bev_features': decode_tensor,
}


class TensorSubscription(LatestInput):
    """Reads tensors; those without stamp or frame get the time of reading and `frame_id`.

    Args:
        node: which subscribes.
        topic: pseudo_image, pillars or bev_features.
        channels: that a tensor must have.
        callback: gets each tensor.
    """

    def __init__(
        self,
        node: BevNode,
        topic: str,
        channels: int,
        callback: Callable[[Any], None],
    ) -> None:
        self._node = node
        self._decode_any = partial(
            _READERS[topic], channels=channels, max_bytes=node.values['max_message_mb'] * 2**20
        )
        super().__init__(node, topic, TENSOR_TYPES, self._read, callback, **node.input_options())

    def _read(self, message: Any) -> BevTensor | PillarTensor:
        image = self._decode_any(message)
        labels = image.labels
        if labels.stamp is None:
            now = self._node.get_clock().now().seconds_nanoseconds()
            labels = dataclasses.replace(labels, stamp=now)
        if labels.frame_id is None:
            labels = dataclasses.replace(labels, frame_id=self._node.values['frame_id'])
        return dataclasses.replace(image, labels=labels)
