# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Methods of the array transfers: their senders and receivers.

A sender's `send` takes an array whose first value is its number; the receiver calls a function
with that number as soon as the array is usable.
"""

from __future__ import annotations

import array as python_array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from std_msgs.msg import Float32MultiArray

from benchmarks.transport.transport_report import KEPT, OURS
from tiny_bev_ros.client import BevSubscriber, PillarTensor, decode_pillars
from tiny_bev_ros.messages.tensor import BevTensor, decode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.runtime.tensor_publisher import TensorPublisher

LIST, NDARRAY, ARRAY = 'msg.data = list', 'msg.data = ndarray', 'msg.data = new array.array'
RAW, MEMCPY = 'serialized bytes, raw subscription', 'memcpy through shared memory'
CANVAS = (496, 432)
_LABELS = TensorLabels((1, 0), 'lidar')


def quality(reliable: bool) -> QoSProfile:
    """Returns a quality of service with keep last 1."""
    policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=1, reliability=policy)


class PlainSender:
    """Publisher of plain rclpy.

    Args:
        node: publishing node.
        topic: topic of the array.
        method: LIST, NDARRAY, ARRAY, KEPT or RAW.
        size: number of values of the array.
    """

    def __init__(self, node: Node, topic: str, method: str, size: int) -> None:
        self._publisher = node.create_publisher(Float32MultiArray, topic, quality(reliable=True))
        self._method, self._message = method, Float32MultiArray()
        self._bytes = bytearray()
        if method in (KEPT, RAW):
            self._message.data.append(0.0)
            self._message.data *= size
        if method == RAW:
            self._bytes = bytearray(serialize_message(self._message))

    @property
    def has_subscribers(self) -> bool:
        """True if a subscription is matched."""
        return self._publisher.get_subscription_count() > 0

    def send(self, values: np.ndarray) -> None:
        """Fills a message with a 1-D float32 array and publishes it."""
        message: Any = self._message
        if self._method == LIST:
            message.data = values.tolist()
        elif self._method == NDARRAY:
            message.data = values
        elif self._method == ARRAY:
            data = python_array.array('f')
            data.frombytes(values.tobytes())
            message.data = data
        elif self._method == KEPT:
            np.frombuffer(message.data, np.float32)[:] = values
        else:
            end = np.frombuffer(self._bytes, np.uint8)[-values.nbytes :]
            end[:] = values.view(np.uint8)
            message = bytes(self._bytes)
        self._publisher.publish(message)


class OurSender:
    """Publisher of this package's nodes, for dense tensors or pillars.

    Args:
        node: publishing node.
        topic: topic of the tensor.
        encoding: float32 or float16.
        shape: shape of the tensor: (1,C,H,W), or (P,C) for pillars.
    """

    def __init__(self, node: Node, topic: str, encoding: str, shape: tuple[int, ...]) -> None:
        self._output = TensorPublisher(node, topic, encoding, depth=1)
        self._shape = shape
        flat = torch.arange(shape[0])
        self._cells = torch.stack([flat // CANVAS[1], flat % CANVAS[1]], 1)

    @property
    def has_subscribers(self) -> bool:
        """True if a subscription is matched."""
        return self._output.has_subscribers

    def send(self, values: np.ndarray) -> None:
        """Publishes a 1-D float32 array as a tensor of the shape."""
        tensor = torch.from_numpy(values).view(self._shape)
        if len(self._shape) == 2:
            self._output.publish_pillars(tensor, self._cells, CANVAS, _LABELS)
        else:
            self._output.publish(tensor, _LABELS)


class MemcpySender:
    """Copy into shared memory and one byte through a pipe: the lower bound of any transfer.

    Args:
        memory: file in shared memory, of the size of the array.
        pipe: named pipe that the receiver reads.
    """

    has_subscribers = True

    def __init__(self, memory: Path, pipe: Path) -> None:
        self._values = np.memmap(memory, np.float32, 'r+')
        self._pipe = pipe.open('wb', buffering=0)  # Waits for the receiver.

    def send(self, values: np.ndarray) -> None:
        """Copies the array and notifies the receiver."""
        self._values[:] = values
        self._pipe.write(b'.')


def receive_memcpy(memory: Path, pipe: Path, arrived: Callable[[int], None]) -> None:
    """Receives from a MemcpySender until it closes the pipe."""
    values = np.memmap(memory, np.float32, 'r')
    copy = np.empty_like(values)
    with pipe.open('rb', buffering=0) as notifications:
        while notifications.read(1):
            copy[:] = values
            arrived(int(copy[0]))


def subscribe(node: Node, job: dict[str, Any], arrived: Callable[[int], None]) -> object:
    """Creates the subscription of a job; it lives as long as the returned object.

    Args:
        node: subscribing node.
        job: job with topic, method, our_reader, reliable and shape.
        arrived: called with the number of each array.
    """
    topic, size, raw = job['topic'], int(np.prod(job['shape'])), job['method'] == RAW
    if job['our_reader']:
        decode: Callable[[Any], Any] = decode_pillars if len(job['shape']) == 2 else decode_tensor

        def on_tensor(tensor: BevTensor | PillarTensor) -> None:
            values = tensor.features if isinstance(tensor, PillarTensor) else tensor.array
            arrived(int(values.flat[0]))

        reliability = 'reliable' if job['reliable'] else 'best_effort'
        return BevSubscriber(
            node, topic, on_tensor, decode=decode, reliability=reliability, depth=1
        )

    def on_message(message: Any) -> None:
        if raw:
            values = np.frombuffer(message[-4 * size :], np.float32)
        else:
            values = np.frombuffer(message.data, np.float32)
        arrived(int(values[0]))

    return node.create_subscription(
        Float32MultiArray, topic, on_message, quality(job['reliable']), raw=raw
    )


def sender(node: Node, job: dict[str, Any]) -> PlainSender | OurSender | MemcpySender:
    """Creates the sender of a job."""
    if job['method'] == MEMCPY:
        return MemcpySender(Path(job['memory']), Path(job['pipe']))
    if job['method'] == OURS:
        return OurSender(node, job['topic'], job['encoding'], tuple(job['shape']))
    return PlainSender(node, job['topic'], job['method'], int(np.prod(job['shape'])))
