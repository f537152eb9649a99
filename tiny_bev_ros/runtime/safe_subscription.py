# SPDX-License-Identifier: Apache-2.0
"""What every subscriber of the package does with a message: count, decode, hand on or refuse."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.adaptive_subscription import AdaptiveSubscription
from tiny_bev_ros.runtime.frame_times import FrameTimes
from tiny_bev_ros.runtime.input_stats import InputStats
from tiny_bev_ros.runtime.latest_only import LatestOnlyWorker
from tiny_bev_ros.runtime.staleness import NotFreshError
from tiny_bev_ros.runtime.topic_silence import TopicSilence, who_publishes

# Of messages that the thread of the callbacks has not taken yet, which it does at once.
_DEPTH = 5
# A frame that takes longer will not end.
_LONGEST_FRAME_S = 30.0


class SafeSubscription:
    """A subscription that stays up whatever comes in.

    Args:
        node: which subscribes.
        topic: relative name.
        types: message classes by ROS type name.
        decode: makes of a message what the callback takes, or raises TinyBevError.
        callback: gets it; may raise TinyBevError as well.
        reliability: auto (as the publishers do), reliable or best_effort.
        depth: messages that wait while one is worked on.
        wanted: whether it is worth while to look at a message.
        tally: counts what became of each.
        group: of callbacks; None for the node's own.
        silence_s: longest gap between messages that is not told; 0 for any, None for no word
            of messages that come either.
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
        wanted: Callable[[], bool],
        tally: InputStats,
        group: CallbackGroup | None = None,
        silence_s: Callable[[], float] | None = None,
    ) -> None:
        self._topic, self._decode, self._callback = topic, decode, callback
        self._wanted, self._tally = wanted, tally
        full_name, self._types = node.resolve_topic_name(topic), tuple(types)
        self._silence = silence_s and TopicSilence(
            node.get_logger(),
            full_name,
            silence_s,
            time.monotonic_ns,
            lambda: who_publishes(node, full_name, self._types),
        )
        self._subscription = self.subscription(
            node,
            topic,
            types,
            self._receive,
            reliability,
            depth,
            group,
            self._silence.look if self._silence else lambda: None,
        )

    @property
    def sources(self) -> list[str]:
        """Topic and types that it waits for."""
        return [f'{self._subscription.topic} ({" or ".join(self._types)})']

    def destroy(self) -> None:
        """Ends the subscription."""
        self._subscription.destroy()

    def _receive(self, message: Any) -> None:
        if self._silence:
            self._silence.hear()
        self._tally.receive()
        if self._wanted():
            self._handle(message)
        else:
            self._tally.drop('unwanted')

    def _handle(self, message: Any) -> None:
        try:
            self._callback(self._decode(message))
        except TinyBevError as error:
            self._tally.reject(self._topic, error)
        else:
            self._tally.publish()


class LatestInput(SafeSubscription):
    """The same for a node that must not fall behind: it works on the newest message only.

    It does so in a thread of its own, one message at a time, so that the node goes on to
    answer meanwhile. Whatever goes wrong, the thread goes on.

    Args:
        *arguments: of Input.
        frame: a context in which each message is decoded and worked on.
        **options: of Input, without depth.
    """

    def __init__(
        self,
        *arguments: Any,
        frame: Callable[[FrameTimes], AbstractContextManager[None]],
        **options: Any,
    ) -> None:
        self._frame = frame
        self._newest: LatestOnlyWorker[tuple[Any, int]] = LatestOnlyWorker(
            self._work, lambda _, cause: self._tally.drop(cause), f'{arguments[1]} worker'
        )
        super().__init__(*arguments, depth=_DEPTH, **options)

    def destroy(self) -> None:
        """Ends the subscription, and the thread after what it works on.

        Raises:
            TinyBevError: it does not come to an end.
        """
        super().destroy()
        if not self._newest.stop(_LONGEST_FRAME_S):
            raise TinyBevError(f'{self._topic} is worked on for more than {_LONGEST_FRAME_S:g} s')

    def _handle(self, message: Any) -> None:
        self._newest.put((message, time.monotonic_ns()))

    def _work(self, item: tuple[Any, int]) -> None:
        message, received_ns = item
        times = FrameTimes(received_ns)
        try:
            with self._frame(times):
                with times.stage('decode'):
                    decoded = self._decode(message)
                self._callback(decoded)
        except NotFreshError as error:
            self._tally.miss(self._topic, error.cause, str(error))
        except TinyBevError as error:
            self._tally.reject(self._topic, error)
        except Exception:
            self._tally.fail(self._topic, traceback.format_exc().strip())
        else:
            self._tally.publish()
