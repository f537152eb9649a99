# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of bag_player as a process, received by real subscriptions."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from tiny_bev_ros.bag.player import Player, message_class, quality, split_ros_args
from tiny_bev_ros.bag.reader import Bag, BagMessage
from tiny_bev_ros.bag.recorded_qos import RecordedQos
from tiny_bev_ros.bag.recorded_topics import BagTopic
from tiny_bev_ros.bag.schedule import Schedule

pytestmark = pytest.mark.dds
START_NS = 1_700_000_000 * 10**9
WAIT_S = 30.0


def test_message_class() -> None:
    assert message_class('std_msgs/msg/String')[0] is String
    for missing in (
        'std_msgs/msg/Nothing',
        'no_such_package/msg/String',
        'std_srvs/srv/Empty_Request',
        'std_msgs/String',
        'os',
        '',
    ):
        found, why_not = message_class(missing)
        assert found is None
        assert why_not


def test_a_package_of_messages_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'odd_msgs').mkdir()
    (tmp_path / 'odd_msgs' / '__init__.py').write_text("raise OSError('of another ROS')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert message_class('odd_msgs/msg/String') == (
        None,
        'odd_msgs.msg cannot be used (OSError: of another ROS)',
    )


def test_quality() -> None:
    plain = quality(RecordedQos())
    assert plain.reliability == QoSReliabilityPolicy.RELIABLE
    assert plain.durability == QoSDurabilityPolicy.VOLATILE
    assert plain.depth == 10
    other = quality(RecordedQos(reliable=False, transient_local=True, depth=30))
    assert other.reliability == QoSReliabilityPolicy.BEST_EFFORT
    assert other.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    assert other.depth == 30


def test_remap_is_an_option_before_ros_args_only() -> None:
    words = ['bag', '-m', '/a:=/b', '--ros-args', '-r', '__ns:=/x']
    assert split_ros_args(words) == (words[:3], words[3:])
    assert split_ros_args(words[:3]) == (words[:3], [])
    own, _ = split_ros_args(['bag', '--ros-args', '-r', '__ns:=/x', '--', '-l'])
    assert own == ['bag', '-l']


class Timeline:
    """Bag of one topic with messages at some times, and a node that keeps published messages."""

    path = Path('bag')

    def __init__(self, times: list[int]) -> None:
        self._times = times
        self.topic = BagTopic('/text', 'std_msgs/msg/String', len(times), RecordedQos())
        self.published: list[bytes] = []
        self.clocks: list[int] = []

    def messages(self, topics: list[str]) -> Iterator[BagMessage]:
        return (BagMessage(topics[0], time_ns, b'%d' % time_ns) for time_ns in self._times)

    def create_publisher(self, kind: type, *_: Any) -> Any:
        if kind is Clock:
            take = lambda message: self.clocks.append(message.clock.sec)  # noqa: E731
        else:
            take = self.published.append
        return SimpleNamespace(publish=take)


@pytest.mark.parametrize(
    ('times', 'warning', 'recorded'),
    [
        (
            [0, *(START_NS + index * 10**7 for index in range(3))],
            'the recording has no message for 1700000000.0 s',
            0.02,
        ),
        ([START_NS, START_NS + 10**7, 0, 10**7], 'goes back by 1700000000.0 s', 0.02),
    ],
)
def test_time_jumps_are_skipped_and_logged_once(
    capsys: pytest.CaptureFixture[str], times: list[int], warning: str, recorded: float
) -> None:
    bag = Timeline(times)
    schedule = Schedule(1.0, longest_gap_s=60.0)
    player = Player(bag, bag, [bag.topic], {}, schedule, 1000.0)
    bar = SimpleNamespace(update=lambda: None)
    for number in (1, 2):
        assert player.play(bar) == pytest.approx(recorded)
        assert bag.published == [b'%d' % time_ns for time_ns in times] * number
    assert player.sent == 8
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('bag_player: ')
    assert warning in line
    # The clock jumps as well.
    assert {0, START_NS // 10**9} == set(bag.clocks)


def offer(durability: QosDurability) -> Qos:
    zero = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE,
        durability,
        zero,
        zero,
        QosLiveliness.AUTOMATIC,
        zero,
        False,
    )


def make_bag(path: Path, count: int = 12, period_ns: int = 50_000_000) -> list[bytes]:
    """Writes clouds, a text before each, a latched text, and a topic of unknown type."""
    clouds = []
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:

        def topic(name: str, kind: str, durability: QosDurability = QosDurability.VOLATILE) -> Any:
            store = get_typestore(Stores.ROS2_JAZZY)
            offers = [offer(durability)]
            return writer.add_connection(name, kind, typestore=store, offered_qos_profiles=offers)

        points = topic('/points', 'sensor_msgs/msg/PointCloud2')
        text = topic('/text', 'std_msgs/msg/String')
        latched = topic('/latched', 'std_msgs/msg/String', QosDurability.TRANSIENT_LOCAL)
        unknown = writer.add_connection(
            '/unknown', 'no_such_package/msg/Thing', msgdef='int32 a\n', rihs01='RIHS01_0'
        )
        writer.write(latched, START_NS, bytes(serialize_message(String(data='map'))))
        writer.write(unknown, START_NS, b'\x00\x01\x00\x00\x01\x00\x00\x00')
        for index in range(count):
            time_ns = START_NS + index * period_ns
            cloud = PointCloud2(width=5000, height=1, point_step=16, row_step=80_000)
            cloud.header.stamp.sec = index
            cloud.data.frombytes(random.Random(index).randbytes(80_000))
            clouds.append(bytes(serialize_message(cloud)))
            writer.write(text, time_ns, bytes(serialize_message(String(data=f'cloud {index}'))))
            writer.write(points, time_ns, clouds[-1])
    return clouds


class Listener:
    """Subscriptions of this process, and players that it starts."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node('listener', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.processes: list[subprocess.Popen[str]] = []

    def subscribe(
        self, kind: type, topic: str, raw: bool = False, latched: bool = False
    ) -> list[Any]:
        profile = QoSProfile(depth=50)
        if latched:
            profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, profile, raw=raw)
        return messages

    def play(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, '-m', 'tiny_bev_ros.bag.player', *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def spin_until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < end
            self._executor.spin_once(timeout_sec=0.02)

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Receives until the player has ended; returns exit code, stdout and stderr."""
        self.spin_until(lambda: process.poll() is not None)
        for _ in range(10):
            self._executor.spin_once(timeout_sec=0.02)
        out, err = process.communicate()
        return process.returncode, out, err

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def listener() -> Iterator[Listener]:
    created = Listener()
    yield created
    created.close()


def test_every_byte_arrives_in_order(listener: Listener, tmp_path: Path) -> None:
    clouds = make_bag(tmp_path / 'bag')
    points = listener.subscribe(PointCloud2, '/points', raw=True)
    texts = listener.subscribe(String, '/text')
    ticks = listener.subscribe(Clock, '/clock')
    player = listener.play(str(tmp_path / 'bag'), '--clock', '100')
    code, out, err = listener.finish(player)
    assert code == 0, err
    assert points == clouds
    assert [text.data for text in texts] == [f'cloud {index}' for index in range(12)]
    assert out.startswith('bag_player: 25 messages in ')
    assert out.endswith('(recorded 0.6 s)\n')
    assert err == (
        'bag_player: leaving out /unknown: it is a no_such_package/msg/Thing, and no_such_package '
        'is not installed\n'
    )
    times = [tick.clock.sec * 10**9 + tick.clock.nanosec for tick in ticks]
    assert len(times) > 10
    assert times == sorted(set(times))
    assert times[0] >= START_NS
    # The clock covers the recording and the delay of the machine.
    assert 0.5e9 < times[-1] - START_NS < WAIT_S * 1e9


def test_recorded_timing(listener: Listener, tmp_path: Path) -> None:
    make_bag(tmp_path / 'bag', count=5, period_ns=100_000_000)
    listener.subscribe(String, '/text')
    for rate, least in (('1', 0.4), ('0.5', 0.8)):
        player = listener.play(str(tmp_path / 'bag'), '--rate', rate)
        code, out, err = listener.finish(player)
        assert code == 0, err
        assert least <= float(out.split()[4]) + 0.05
        assert 'recorded 0.4 s' in out


def test_selection_remap_and_ros_args(listener: Listener, tmp_path: Path) -> None:
    clouds = make_bag(tmp_path / 'bag')
    points = listener.subscribe(PointCloud2, '/robot/lidar', raw=True)
    texts = listener.subscribe(String, '/text')
    player = listener.play(
        *(str(tmp_path / 'bag'), '--topics', 'points', '-r', '10', '-m', '/points:=lidar'),
        *('--ros-args', '-r', '__ns:=/robot'),
    )
    code, out, err = listener.finish(player)
    assert (code, err) == (0, '')
    assert points == clouds
    assert texts == []
    assert out.startswith('bag_player: 12 messages')


def test_latched_messages_reach_late_subscribers(listener: Listener, tmp_path: Path) -> None:
    make_bag(tmp_path / 'bag', count=2)
    texts = listener.subscribe(String, '/text')
    player = listener.play(str(tmp_path / 'bag'), '--loop')
    listener.spin_until(lambda: len(texts) > 2)
    late = listener.subscribe(String, '/latched', latched=True)
    listener.spin_until(lambda: bool(late))
    player.send_signal(signal.SIGINT)
    assert listener.finish(player)[0] == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_loop_cleanly(
    listener: Listener, tmp_path: Path, number: signal.Signals
) -> None:
    clouds = make_bag(tmp_path / 'bag', count=3)
    points = listener.subscribe(PointCloud2, '/points', raw=True)
    player = listener.play(str(tmp_path / 'bag'), '-l', '--topics', '/points')
    listener.spin_until(lambda: len(points) >= 8)
    player.send_signal(number)
    code, out, err = listener.finish(player)
    assert (code, err) == (0, '')
    assert 'stopped after' in out
    assert points[:8] == (clouds * 3)[:8]


def test_a_signal_ends_a_long_wait(listener: Listener, tmp_path: Path) -> None:
    make_bag(tmp_path / 'bag', count=2, period_ns=3600 * 10**9)
    texts = listener.subscribe(String, '/text')
    player = listener.play(str(tmp_path / 'bag'), '--longest-gap', '1e5')
    listener.spin_until(lambda: len(texts) == 1)
    player.terminate()
    code, _, err = listener.finish(player)
    assert (code, 'Traceback' in err) == (0, False)


@pytest.mark.parametrize(
    ('words', 'code', 'message'),
    [
        (['{folder}/nothing'], 1, 'bag_player: bag is {folder}/nothing, which does not exist'),
        (['{folder}/bag', '--topics', 'x'], 1, 'bag_player: topic is /x; expected one of'),
        (['{folder}/bag', '-m', '/x:=/y'], 1, 'bag_player: remap is /x:=/y; /x is not played'),
        (['{folder}/bag', '-m', '/text:=/1'], 1, 'bag_player: topic is /1; Invalid topic name'),
        (['{folder}/bag', '--rate', '0'], 2, 'argument -r/--rate: 0 is not a number above 0'),
        (['{folder}/bag', '--rate', 'nan'], 2, 'nan is not a number above 0'),
        (['{folder}/bag', '--delay', '-1'], 2, '-1 is not a number from 0'),
        (['{folder}/bag', '--ros-args', '--bad'], 2, 'ROS arguments: '),
        ([], 2, 'the following arguments are required: bag'),
    ],
)
def test_errors(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    make_bag(tmp_path / 'bag', count=1)
    process = subprocess.run(
        [
            *(sys.executable, '-m', 'tiny_bev_ros.bag.player'),
            *(word.format(folder=tmp_path) for word in words),
        ],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert process.returncode == code
    assert message.format(folder=tmp_path) in process.stderr
    assert 'Traceback' not in process.stderr
    assert process.stdout == ''


def test_a_bag_without_playable_messages(tmp_path: Path) -> None:
    make_bag(tmp_path / 'bag', count=1)
    process = subprocess.run(
        [
            *(sys.executable, '-m', 'tiny_bev_ros.bag.player'),
            *(str(tmp_path / 'bag'), '--topics', '/unknown'),
        ],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert process.returncode == 1
    left_out, error = process.stderr.splitlines()
    assert 'leaving out /unknown' in left_out
    assert 'has no message that can be played' in error


def test_real_bag_arrives_unchanged(listener: Listener, data_dir: Path) -> None:
    path = data_dir / 'bags_derived' / 'kitti_open_db3'
    with Bag(path) as bag:
        stored = [message.data for message in bag.messages(['/velodyne_points'])]
    points = listener.subscribe(PointCloud2, '/velodyne_points', raw=True)
    code, _, err = listener.finish(listener.play(str(path), '--topics', '/velodyne_points'))
    assert code == 0, err
    assert points == stored
