# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""A publisher of labelled tensors that changes its encoding, hence its type, at run time."""

from __future__ import annotations

from typing import Any

import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.multi_array import MESSAGE_TYPES
from tiny_bev_ros.messages.pillar_tensor import encode_pillars
from tiny_bev_ros.messages.tensor import TensorLabels, encode_tensor
from tiny_bev_ros.runtime.adaptive_subscription import retry_create


class TensorPublisher:
    """A reliable publisher of labelled tensors, compatible with best-effort subscribers.

    One message is refilled for each tensor, which is faster than a new message, and even than
    serialized bytes.

    Args:
        node: publishing node.
        topic: relative topic name.
        encoding: float32 or float16.
        depth: number of messages kept for a slow reliable subscriber.

    Attributes:
        publisher: ROS publisher; replaced when the encoding changes.
        encoding: current encoding.
    """

    def __init__(self, node: Node, topic: str, encoding: str, depth: int) -> None:
        self._node, self._topic, self._depth = node, topic, depth
        self._create(encoding)

    def _create(self, encoding: str) -> None:
        self.encoding = encoding
        self._message: Any = None
        self.publisher = self._node.create_publisher(
            MESSAGE_TYPES[encoding], self._topic, QoSProfile(depth=self._depth)
        )

    def change_encoding(self, encoding: str) -> None:
        """Replaces the publisher by one of another encoding, hence of another type.

        Raises:
            TinyBevError: the middleware refuses; the old encoding stays.
        """
        old = self.encoding
        if encoding == old:
            return
        self.destroy()
        try:
            retry_create(lambda: self._create(encoding))
        except Exception as error:  # the middleware raises several kinds
            self._create(old)
            reason = str(error).splitlines()[0]
            raise TinyBevError(
                f'{self._topic} cannot be published as {encoding}: {reason}'
            ) from None

    def destroy(self) -> None:
        """Destroys the publisher."""
        self._node.destroy_publisher(self.publisher)

    @property
    def has_subscribers(self) -> bool:
        """True if the topic has a subscriber."""
        return self.publisher.get_subscription_count() > 0

    def publish(self, tensor: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes a tensor (B,C,H,W) of any device.

        Raises:
            TinyBevError: the tensor cannot be encoded.
        """
        try:
            self._message = encode_tensor(tensor, labels, self.encoding, self._message)
        except TinyBevError as error:
            raise self._publish_error(error) from None
        self.publisher.publish(self._message)

    def publish_pillars(
        self,
        features: torch.Tensor,
        cells: torch.Tensor,
        canvas: tuple[int, int],
        labels: TensorLabels,
    ) -> None:
        """Publishes pillars.

        Args:
            features: (P,C) features of pillars.
            cells: (P,2) int64 [row, col] of pillars.
            canvas: (H,W) of the pseudo-image.
            labels: stamp, frame and axes of the pseudo-image.

        Raises:
            TinyBevError: the pillars cannot be encoded.
        """
        try:
            message = encode_pillars(features, cells, canvas, labels, self.encoding)
        except TinyBevError as error:
            raise self._publish_error(error) from None
        self.publisher.publish(message)

    def _publish_error(self, error: TinyBevError) -> TinyBevError:
        # Inputs are finite, so the network caused values that cannot be encoded.
        return TinyBevError(f'{self.publisher.topic_name} cannot be published: {error}')
