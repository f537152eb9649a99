# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""`read_bag`: clouds of recordings, damaged ones among them, and without ROS."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absent_packages import MESSAGES, RCLPY, run_without
from bag_kinds import KINDS
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

import tiny_bev_ros
from tiny_bev_ros.bag.cloud_frames import (
    BagFrame,
    SkippedCloud,
    count_frames,
    read_bag,
    read_clouds,
)
from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.messages.point_layout import CloudOptions

STORE = get_typestore(Stores.ROS2_JAZZY)


def points_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=(index + 1, 4)).astype(np.float32)


def cloud(index: int, points: np.ndarray, point_step: int = 16) -> Any:
    """Returns a PointCloud2 of rosbags, stamped 5 s before its recording."""
    types = STORE.types
    fields = [
        types['sensor_msgs/msg/PointField'](name, 4 * k, 7, 1)
        for k, name in enumerate(('x', 'y', 'z', 'intensity'))
    ]
    stamp = types['builtin_interfaces/msg/Time'](100 + index, 7)
    header = types['std_msgs/msg/Header'](stamp, 'lidar')
    data = points.view(np.uint8).reshape(-1)
    count = len(points)
    return types[CLOUD_TYPE](
        header, 1, count, fields, False, point_step, len(data), data, is_dense=True
    )


def serialized(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, CLOUD_TYPE))


def write(
    path: Path,
    messages: list[bytes],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection('/points', CLOUD_TYPE, typestore=STORE)
        for index, message in enumerate(messages):
            writer.write(topic, (105 + index) * 10**9, message)
    return path


def clouds(count: int) -> list[bytes]:
    return [serialized(cloud(index, points_of(index))) for index in range(count)]


def damaged() -> list[bytes]:
    """Returns five clouds: 1 has a wrong point step, and 3 ends early."""
    messages = clouds(5)
    messages[1] = serialized(cloud(1, points_of(1), point_step=400))
    messages[3] = messages[3][:60]
    return messages


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_clouds_of_every_kind_of_bag(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    path = write(tmp_path / 'bag', clouds(7), storage, compression)
    for every, first, count in ((1, 0, None), (1, 2, 3), (3, 0, None), (3, 1, 2), (2, 4, 0)):
        frames = list(read_bag(path, 'points', every=every, first=first, count=count))
        assert all(isinstance(frame, BagFrame) for frame in frames)
        expected = range(7)[::every][first:][:count]
        assert [frame.index for frame in frames] == list(expected)
        for frame in frames:
            assert frame.time_ns == (105 + frame.index) * 10**9
            assert (frame.stamp, frame.frame_id) == ((100 + frame.index, 7), 'lidar')
            assert frame.points.dtype == np.float32
            np.testing.assert_array_equal(frame.points, points_of(frame.index))


@pytest.mark.parametrize(('clouds', 'every', 'frames'), [(0, 2, 0), (7, 3, 3), (6, 3, 2)])
def test_number_of_frames(clouds: int, every: int, frames: int) -> None:
    assert count_frames(clouds, every) == frames


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ({'every': 0}, 'every is 0; expected at least 1'),
        ({'first': -1}, 'frames are -1 to 5; expected 0 to 5, those of /points in'),
        ({'first': 3, 'count': 3}, 'frames are 3 to 6; expected 0 to 5'),
        ({'every': 2, 'first': 4}, 'frames are 4 to 3; expected 0 to 3'),
        ({'topic': '/x'}, 'topic /x is not in the bag'),
    ],
)
def test_arguments_are_checked(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    path = write(tmp_path / 'bag', clouds(5))
    with pytest.raises(TinyBevError, match=message):
        next(iter(read_bag(path, **words)))


def test_a_damaged_cloud_ends_a_script(tmp_path: Path) -> None:
    frames = read_bag(write(tmp_path / 'bag', damaged()))
    assert next(frames).index == 0
    with pytest.raises(TinyBevError, match=r'cloud 1 of .*bag cannot be decoded: row_step is 32'):
        next(frames)


def test_damaged_clouds_are_reported_among_the_others(tmp_path: Path) -> None:
    with Bag(write(tmp_path / 'bag', damaged())) as bag:
        found = list(read_clouds(bag))
        assert [each.index for each in found] == [0, 1, 2, 3, 4]
        wrong, cut = (each for each in found if isinstance(each, SkippedCloud))
        assert (wrong.index, wrong.time_ns, wrong.stamp) == (1, 106 * 10**9, (101, 7))
        assert wrong.reason.startswith('row_step is 32; expected at least 800')
        assert (cut.index, cut.stamp) == (3, None)
        assert 'message is damaged (' in cut.reason
        # The numbers are those of the recording.
        (one,) = read_clouds(bag, every=3, first=1)
        assert one == cut


def test_points_that_are_left_out_are_counted(tmp_path: Path) -> None:
    points = points_of(4)
    points[2, 0] = np.nan
    path = write(tmp_path / 'bag', [serialized(cloud(0, points))])
    (frame,) = read_bag(path)
    assert (len(frame.points), frame.dropped, frame.notes) == (4, 1, ())


def test_options_reach_the_decoder(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', clouds(1))
    (frame,) = read_bag(path, options=CloudOptions(time_field='intensity'))
    assert frame.points.shape == (1, 5)
    with Bag(path) as bag:
        (skipped,) = read_clouds(bag, decode=partial(decode_cloud, max_bytes=3))
    assert isinstance(skipped, SkippedCloud)
    assert 'expected at most 3' in skipped.reason


def test_points_are_a_view_of_the_message(tmp_path: Path) -> None:
    (frame,) = read_bag(write(tmp_path / 'bag', clouds(1)))
    assert not frame.points.flags.owndata


def test_irregularities_are_warnings(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', clouds(2))
    (path / 'other.mcap').write_bytes(b'')
    with pytest.warns(UserWarning, match=r'bag: other\.mcap: not listed') as caught:
        assert len(list(read_bag(path))) == 2
    assert caught[0].filename == __file__


def test_a_generator_that_is_left_closes_its_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / 'bag', clouds(2), compression=CompressionMode.FILE)
    unpacked = tmp_path / 'unpacked'
    unpacked.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(unpacked))
    frames = read_bag(path)
    assert not list(unpacked.iterdir())
    next(frames)
    assert list(unpacked.iterdir())
    frames.close()
    assert not list(unpacked.iterdir())


def test_bags_are_read_where_there_is_no_ros(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', clouds(3))
    code = f"""
import warnings
warnings.simplefilter('error')
import tiny_bev_ros
for frame in tiny_bev_ros.read_bag({str(path)!r}):
    print(frame.index, *frame.stamp, frame.frame_id, *frame.points.shape)
import tiny_bev_ros.messages.tensor_labels
assert 'torch' not in sys.modules
"""
    assert run_without(f'{RCLPY}|{MESSAGES}', code).splitlines() == [
        '0 100 7 lidar 1 4',
        '1 101 7 lidar 2 4',
        '2 102 7 lidar 3 4',
    ]


def test_public_names() -> None:
    assert tiny_bev_ros.read_bag is read_bag
    assert tiny_bev_ros.BagFrame is BagFrame


@pytest.mark.parametrize(
    'name',
    [
        'bags_derived/kitti_open_mcap',
        'bags_derived/kitti_open_db3',
        'bags_derived/av2_open_mcap',
        'bags/pct_tutorial_excerpt_3msg',
    ],
)
def test_real_clouds_are_those_that_a_node_decodes(data_dir: Path, name: str) -> None:
    serialization = pytest.importorskip('rclpy.serialization')
    kind = pytest.importorskip('sensor_msgs.msg').PointCloud2
    with Bag(data_dir / name) as bag:
        found = list(read_clouds(bag))
        topic = next(each.name for each in bag.topics.values() if each.type == CLOUD_TYPE)
        messages = list(bag.messages([topic]))
    assert len(found) == len(messages) > 0
    for frame, message in zip(found, messages, strict=True):
        assert isinstance(frame, BagFrame)
        received = serialization.deserialize_message(message.data, kind)
        expected = decode_cloud(received)
        stamp = received.header.stamp
        assert frame.stamp == (stamp.sec, stamp.nanosec)
        assert (frame.time_ns, frame.frame_id) == (message.time_ns, received.header.frame_id)
        assert (frame.dropped, frame.notes) == (expected.dropped, expected.notes)
        np.testing.assert_array_equal(frame.points, expected.points)


def test_every_layout_and_every_malformed_cloud_of_the_zoo(data_dir: Path) -> None:
    with Bag(data_dir / 'bags_derived' / 'pointcloud2_zoo_open') as bag:
        kinds = {
            topic.name: [type(each) for each in read_clouds(bag, topic.name)]
            for topic in bag.topics.values()
            if topic.type == CLOUD_TYPE
        }
    bad = {name for name, found in kinds.items() if SkippedCloud in found}
    assert len(kinds) == 41
    assert bad == {name for name in kinds if name.startswith('/zoo_bad/')}
