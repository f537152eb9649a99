# SPDX-License-Identifier: Apache-2.0
"""Publishers of labelled tensors, dense and as pillars."""

from __future__ import annotations

from typing import Any

import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.pillar_tensor import encode_pillars
from tiny_bev_ros.messages.tensor import TensorLabels, encode_tensor
from tiny_bev_ros.messages.wire import MESSAGE_TYPES
from tiny_bev_ros.runtime.retry_create import retry_create


class TensorPublisher:
    """A reliable publisher of labelled tensors, which best-effort subscribers hear as well.

    It refills one kept message: of all ways to hand an array to rclpy that takes least, less
    than to serialize it oneself.

    Args:
        node: which publishes.
        topic: relative name.
        encoding: float32 or float16.
        depth: messages kept for a slow reliable subscriber.

    Attributes:
        encoding: of now.
    """

    def __init__(self, node: Node, topic: str, encoding: str, depth: int) -> None:
        self._node, self._topic, self._depth = node, topic, depth
        self._create(encoding)

    def _create(self, encoding: str) -> None:
        self.encoding = encoding
        self._message: Any = None
        self._publisher = self._node.create_publisher(
            MESSAGE_TYPES[encoding], self._topic, QoSProfile(depth=self._depth)
        )

    def change_encoding(self, encoding: str) -> None:
        """Publishes in another encoding from now on, that is with another type.

        Raises:
            TinyBevError: the middleware refuses; the old encoding stays.
        """
        old = self.encoding
        if encoding == old:
            return
        self.destroy()
        try:
            retry_create(lambda: self._create(encoding))
        except Exception as error:  # of the middleware, of several kinds
            self._create(old)
            reason = str(error).splitlines()[0]
            raise TinyBevError(
                f'{self._topic} cannot be published as {encoding}: {reason}'
            ) from None

    def destroy(self) -> None:
        """Ends the publisher."""
        self._node.destroy_publisher(self._publisher)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        return self._publisher.get_subscription_count() > 0

    def publish(self, tensor: torch.Tensor, labels: TensorLabels) -> None:
        """Publishes (B,C,H,W), of any device."""
        try:
            self._message = encode_tensor(tensor, labels, self.encoding, self._message)
        except TinyBevError as error:
            raise self._cannot(error) from None
        self._publisher.publish(self._message)

    def publish_pillars(
        self,
        features: torch.Tensor,
        cells: torch.Tensor,
        canvas: tuple[int, int],
        labels: TensorLabels,
    ) -> None:
        """Publishes features (P,C) and cells (P,2) of pillars on a canvas (H,W)."""
        try:
            message = encode_pillars(features, cells, canvas, labels, self.encoding)
        except TinyBevError as error:
            raise self._cannot(error) from None
        self._publisher.publish(message)

    def _cannot(self, error: TinyBevError) -> TinyBevError:
        # Finite input, so it is the network that went too far.
        return TinyBevError(f'{self._publisher.topic_name} cannot be sent: {error}')
