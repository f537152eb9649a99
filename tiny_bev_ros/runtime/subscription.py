# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Subscriptions of the package: count, decode, and hand on or reject each message."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Condition, Thread
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.runtime.log_throttle import TopicSilence, describe_publishers
from tiny_bev_ros.runtime.staleness import StaleInputError
from tiny_bev_ros.runtime.stats import FrameTimes, InputStats

Item = TypeVar('Item')

# Queue depth: the callback only hands a message to the worker, so few wait.
_DEPTH = 5
# A frame that takes longer is considered hung.
_FRAME_TIMEOUT_S = 30.0


class SafeSubscription:
    """A subscription that survives any message.

    Args:
        node: subscribing node.
        topic: relative topic name.
        types: message classes by ROS type name.
        decode: converts a message to the argument of the callback, or raises TinyBevError.
        callback: receives the decoded message; may raise TinyBevError as well.
        reliability: auto (as the publishers offer), reliable or best_effort.
        depth: depth of the queue.
        is_active: returns True while messages are to be processed; others are only counted, as
            dropped for no_subscribers.
        stats: counts messages by outcome.
        group: callback group; None for the default one of the node.
        silence_s: returns the longest gap between messages that is not logged, 0 for any;
            None to log no first message either.
    """

    subscription: type[AdaptiveSubscription] = AdaptiveSubscription

    def __init__(
        self,
        node: Node,
        topic: str,
        types: dict[str, type],
        decode: Callable[[Any], Any],
        callback: Callable[[Any], None],
        *,
        reliability: str,
        depth: int,
        is_active: Callable[[], bool],
        stats: InputStats,
        group: CallbackGroup | None = None,
        silence_s: Callable[[], float] | None = None,
    ) -> None:
        self._topic, self._decode, self._callback = topic, decode, callback
        self._is_active, self._stats = is_active, stats
        full_name, self._types = node.resolve_topic_name(topic), tuple(types)
        self._silence = silence_s and TopicSilence(
            node.get_logger(),
            full_name,
            silence_s,
            time.monotonic_ns,
            lambda: describe_publishers(node, full_name, self._types),
        )
        self._subscription = self.subscription(
            node,
            topic,
            types,
            self._receive,
            reliability,
            depth,
            group,
            self._silence.check if self._silence else lambda: None,
        )

    @property
    def sources(self) -> list[str]:
        """Topic and types, as one text."""
        return [f'{self._subscription.topic} ({" or ".join(self._types)})']

    def destroy(self) -> None:
        """Destroys the subscription."""
        self._subscription.destroy()

    def _receive(self, message: Any) -> None:
        if self._silence:
            self._silence.message_received()
        self._stats.count_received()
        if self._is_active():
            self._handle(message)
        else:
            self._stats.count_dropped('no_subscribers')

    def _handle(self, message: Any) -> None:
        try:
            self._callback(self._decode(message))
        except TinyBevError as error:
            self._stats.count_rejected(self._topic, error)
        else:
            self._stats.count_published()


class LatestInput(SafeSubscription):
    """A SafeSubscription that processes the newest message only, so that it never falls behind.

    Messages are processed in a worker thread, one at a time, so that the node answers
    meanwhile. The thread survives any error.

    Args:
        *arguments: arguments of SafeSubscription.
        frame: makes the context in which a message is decoded and processed.
        **options: options of SafeSubscription, without depth.
    """

    def __init__(
        self,
        *arguments: Any,
        frame: Callable[[FrameTimes], AbstractContextManager[None]],
        **options: Any,
    ) -> None:
        self._frame = frame
        self._worker: LatestOnlyWorker[tuple[Any, int]] = LatestOnlyWorker(
            self._process,
            lambda _, cause: self._stats.count_dropped(cause),
            f'{arguments[1]} worker',
        )
        super().__init__(*arguments, depth=_DEPTH, **options)

    def destroy(self) -> None:
        """Destroys the subscription, and ends the thread after its current message.

        Raises:
            TinyBevError: the current message is not finished in time.
        """
        super().destroy()
        if not self._worker.stop(_FRAME_TIMEOUT_S):
            raise TinyBevError(
                f'{self._topic} is still processed after {_FRAME_TIMEOUT_S:g} s; '
                'expected the thread to end'
            )

    def _handle(self, message: Any) -> None:
        self._worker.put((message, time.monotonic_ns()))

    def _process(self, item: tuple[Any, int]) -> None:
        message, received_ns = item
        times = FrameTimes(received_ns)
        try:
            with self._frame(times):
                with times.stage('decode'):
                    decoded = self._decode(message)
                self._callback(decoded)
        except StaleInputError as error:
            self._stats.count_mistimed(self._topic, error.cause, str(error))
        except TinyBevError as error:
            self._stats.count_rejected(self._topic, error)
        except Exception:
            self._stats.count_failed(self._topic, traceback.format_exc().strip())
        else:
            self._stats.count_published()


class LatestOnlyWorker(Generic[Item]):
    """A thread that processes the newest item; an item that waits is replaced by a newer one.

    Latency is therefore bounded by the time of two items, whatever their rate.

    Args:
        process: called with each item in the thread; must not raise.
        on_drop: called in another thread with each dropped item and the cause, replaced or
            stopped.
        name: name of the thread.
    """

    def __init__(
        self, process: Callable[[Item], None], on_drop: Callable[[Item, str], None], name: str
    ) -> None:
        self._process, self._on_drop = process, on_drop
        self._waiting: list[Item] = []  # one at most
        self._stopped = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queues an item, and drops the one that still waits."""
        with self._changed:
            old, self._waiting = self._waiting, [item]
            if self._stopped:
                old, self._waiting = self._waiting, []
            self._changed.notify()
        for each in old:
            self._on_drop(each, 'stopped' if self._stopped else 'replaced')

    def stop(self, seconds: float) -> bool:
        """Ends the thread after its current item; returns True if it ended within the time."""
        with self._changed:
            self._stopped = True
            old, self._waiting = self._waiting, []
            self._changed.notify()
        for each in old:
            self._on_drop(each, 'stopped')
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                (item,), self._waiting = self._waiting, []
            self._process(item)
            del item  # frees a large message while the thread waits for the next one
