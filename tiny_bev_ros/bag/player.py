# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Plays a rosbag2 where `ros2 bag play` is not installed.

Publishes the stored messages unchanged, with their recorded timing and quality of service.
No message is skipped: a slow publisher makes messages late. Recorded time is skipped where it
jumps ahead (from 0, before a simulated clock began) or back.
"""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
import time
from typing import Any, NoReturn

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from tqdm import tqdm

from tiny_bev_ros.bag.player_options import DISCOVERY_S, make_parser
from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.bag.recorded_qos import RecordedQos
from tiny_bev_ros.bag.recorded_topics import BagTopic
from tiny_bev_ros.bag.schedule import Pulse, Schedule, parse_remap, select
from tiny_bev_ros.bag.storage_files import message_of
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional
from tiny_bev_ros.runtime.process import tune_process

_SETTLE_S = 0.5
# Pause between two loops of a bag with one message.
_LONE_GAP_NS = 100_000_000


class Player:
    """Publisher of the messages of a bag.

    Args:
        node: publishing node.
        bag: open bag.
        topics: topics to play; topics whose type cannot be imported are left out.
        remap: published topic name by recorded name.
        schedule: due time of each message.
        clock_hz: frequency of /clock in Hz; None for no clock.

    Raises:
        TinyBevError: nothing is left to play, or a name is no topic name.
    """

    def __init__(
        self,
        node: Node,
        bag: Bag,
        topics: list[BagTopic],
        remap: dict[str, str],
        schedule: Schedule,
        clock_hz: float | None,
    ) -> None:
        self._bag = bag
        self.sent = 0
        self._publishers: dict[str, Any] = {}
        for topic in topics:
            kind, why_not = message_class(topic.type)
            if kind is None:
                log(f'leaving out {topic.name}: it is a {topic.type}, and {why_not}')
                continue
            name = remap.get(topic.name, topic.name)
            try:
                publisher = node.create_publisher(kind, name, quality(topic.qos))
            except InvalidTopicNameException as error:
                raise TinyBevError(f'topic is {name}; {message_of(error)}') from None
            self._publishers[topic.name] = publisher
        self.count = sum(topic.count for topic in topics if topic.name in self._publishers)
        if not self.count:
            raise TinyBevError(f'bag {bag.path} has no message that can be played')
        self._schedule = schedule
        self._reported: set[str] = set()
        self._clock = node.create_publisher(Clock, '/clock', 1) if clock_hz else None
        self._pulse = Pulse(clock_hz or 1)

    def wait_for_subscribers(self) -> None:
        """Waits until a topic has a subscriber, at most DISCOVERY_S."""
        end = time.monotonic() + DISCOVERY_S
        while time.monotonic() < end:
            if any(one.get_subscription_count() for one in self._publishers.values()):
                # Subscribers of other topics are discovered at about the same time.
                time.sleep(_SETTLE_S)
                return
            time.sleep(0.02)

    def play(self, bar: Any) -> float:
        """Plays the bag once; returns its recorded length in seconds."""
        self._schedule.restart()
        for message in self._bag.messages(list(self._publishers)):
            skipped = self._schedule.follow(message.time_ns)
            if skipped and skipped not in self._reported:
                self._reported.add(skipped)
                log(skipped)
            self._wait_until(message.time_ns)
            self._publishers[message.topic].publish(message.data)
            self.sent += 1
            bar.update()
        return self._schedule.recorded_ns / 1e9

    def loop(self, bar: Any) -> NoReturn:
        """Plays the bag forever, with its mean message period between two rounds."""
        while True:
            seconds = self.play(bar)
            gap = int(seconds * 1e9) // (self.count - 1) if self.count > 1 else _LONE_GAP_NS
            self._wait_until(self._schedule.time_ns() + gap)
            bar.reset()

    def wait_for_all_acked(self, seconds: float) -> None:
        """Waits until subscribers have all messages; 0 seconds means without limit."""
        end = time.monotonic() + (seconds or math.inf)
        for name, publisher in self._publishers.items():
            # Waits in slices: Ctrl-C has no effect inside.
            while not publisher.wait_for_all_acked(Duration(seconds=0.1)):
                if time.monotonic() > end:
                    log(f'not all of {name} was acknowledged within {seconds:g} s')
                    break

    def _wait_until(self, time_ns: int) -> None:
        while True:
            if self._clock and self._pulse.due():
                seconds, nanoseconds = divmod(self._schedule.time_ns(), 10**9)
                clock = Clock()
                clock.clock.sec, clock.clock.nanosec = seconds, nanoseconds
                self._clock.publish(clock)
            left = self._schedule.seconds_until(time_ns)
            if left <= 0:
                return
            if self._clock:
                left = min(left, max(0.0, self._pulse.seconds_left()))
            time.sleep(left)


def message_class(name: str) -> tuple[Any, str]:
    """Returns the class of a message type such as 'std_msgs/msg/String', or None and a reason."""
    match = re.fullmatch(r'([a-z]\w*)/msg/([A-Z]\w*)', name)
    if not match:
        return None, 'that is no type of a message'
    package, why_not = import_optional(f'{match[1]}.msg')
    return getattr(package, match[2], None), why_not or f'{match[1]} has no {match[2]}'


def quality(recorded: RecordedQos) -> QoSProfile:
    """Returns a QoS profile with the recorded quality of service."""
    profile = QoSProfile(depth=recorded.depth)
    if not recorded.reliable:
        profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
    if recorded.transient_local:
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    return profile


def log(text: str) -> None:
    """Writes a line to stderr."""
    print(f'bag_player: {text}', file=sys.stderr)


def run(options: argparse.Namespace, node: Node) -> None:
    """Plays a bag according to the options."""
    with Bag(options.bag) as bag:
        for remark in bag.remarks:
            log(remark)
        bag.refuse_unreadable(options.topics)
        topics = select(bag.topics, options.topics)
        if not options.topics:
            for name, why in bag.unreadable.items():
                log(f'leaving out {name}: it is {why}')
        if options.clock:
            topics = [topic for topic in topics if topic.name != '/clock']
        remap = parse_remap(options.remap, topics)
        schedule = Schedule(options.rate, longest_gap_s=options.longest_gap)
        player = Player(node, bag, topics, remap, schedule, options.clock)
        # The bar is left out without a terminal: it would fill the log of a launch.
        with tqdm(total=player.count, unit='msg', desc='playing', disable=None) as bar:
            time.sleep(options.delay)
            player.wait_for_subscribers()
            begin = time.monotonic()
            try:
                if options.loop:
                    player.loop(bar)
                recorded = player.play(bar)
                seconds = time.monotonic() - begin
                player.wait_for_all_acked(options.wait_for_all_acked / 1e3)
            except KeyboardInterrupt:
                bar.close()
                print(f'bag_player: stopped after {player.sent} messages')
                raise
    print(f'bag_player: {player.sent} messages in {seconds:.1f} s (recorded {recorded:.1f} s)')


def split_ros_args(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits arguments into the player's own and those from --ros-args on.

    rcl takes FROM:=TO for its own anywhere, so it must not get the player's arguments.

    Raises:
        RuntimeError: rcl does not understand the ROS arguments.
    """
    split = words.index('--ros-args') if '--ros-args' in words else len(words)
    own, ros = words[:split], words[split:]
    return own + remove_ros_args(ros), ros


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the bag_player executable; returns its exit code."""
    # Both signals raise KeyboardInterrupt; rclpy's handler would let a wait go on after
    # SIGTERM.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    node = None
    parser = make_parser(__doc__)
    try:
        try:
            own, ros = split_ros_args(sys.argv[1:] if arguments is None else arguments)
            options = parser.parse_args(own)
            if shortage := tune_process():
                log(shortage)
            rclpy.init(args=ros, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            parser.error(f'ROS arguments: {message_of(error)}')
        node = Node('bag_player', start_parameter_services=False, enable_rosout=False)
        run(options, node)
    except TinyBevError as error:
        log(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
