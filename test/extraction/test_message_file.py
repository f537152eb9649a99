# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Messages in mcap files: equal to those of the nodes, read back by Bag."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags', 'nav_msgs.msg', 'rclpy')

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extracted_frames import frame_of, made_up_frames, with_ground, write_run
from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float32MultiArray, UInt8MultiArray
from visualization_msgs.msg import MarkerArray

from tiny_bev_ros.bag.reader import Bag
from tiny_bev_ros.extraction import message_file
from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions, make_writers
from tiny_bev_ros.messages.detections import (
    decode_detection_boxes,
    encode_detection_boxes,
    encode_markers,
)
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.output_roi import OutputRoi
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor

TYPES = {
    '/bev_features': UInt8MultiArray,
    '/detection_boxes': Float32MultiArray,
    '/detection_markers': MarkerArray,
    '/drivable_area': OccupancyGrid,
}
ROI = OutputRoi((2.0, 11.0), (-5.0, 5.0))
OPTIONS = OutputOptions(('detections', 'drivable', 'features'), 'mcap', roi=ROI)


def read(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """Returns time and message of all messages by topic."""
    found: dict[str, list[tuple[int, Any]]] = {topic: [] for topic in TYPES}
    with Bag(folder / 'messages/street/part-00001.mcap') as bag:
        assert not bag.remarks
        for topic, time_ns, data in bag.messages():
            found[topic].append((time_ns, deserialize_message(data, TYPES[topic])))
    return found


def messages_of_node(frame: ExtractedFrame, lifetime_s: float) -> dict[str, Any]:
    result = frame.result
    labels = TensorLabels(frame.stamp, frame.frame_id, result.grid.y_axis, result.grid.x_axis)
    detections = result.heads.detections
    assert detections is not None
    assert result.drivable is not None
    return {
        '/bev_features': encode_tensor(*ROI.crop(result.features, labels), 'float16'),
        '/detection_boxes': encode_detection_boxes(detections, labels),
        '/detection_markers': encode_markers(detections, labels, lifetime_s),
        '/drivable_area': encode_drivable(result.drivable, labels, -1.7, result.observed),
    }


def test_messages_are_those_of_the_nodes(tmp_path: Path, frames: list[ExtractedFrame]):
    write_run(tmp_path, OPTIONS, frames)
    found = read(tmp_path)
    for number, frame in enumerate(frames):
        for topic, expected in messages_of_node(frame, 1.0).items():
            time_ns, message = found[topic][number]
            assert time_ns == frame.time_ns
            # As the middleware would deliver it: single precision where a field has it.
            delivered = deserialize_message(serialize_message(expected), TYPES[topic])
            assert message == delivered, topic
    boxes = decode_detection_boxes(found['/detection_boxes'][0][1])
    np.testing.assert_array_equal(boxes.boxes, frames[0].result.boxes)
    assert boxes.labels.stamp == frames[0].stamp
    features = decode_tensor(found['/bev_features'][2][1])
    assert features.labels.frame_id == 'lidar'


def test_topics_are_those_that_were_asked_for(tmp_path: Path):
    write_run(tmp_path, OutputOptions(('drivable',), 'mcap'), made_up_frames(2))
    with Bag(tmp_path / 'messages/street/part-00001.mcap') as bag:
        counts = {name: (topic.type, topic.count) for name, topic in bag.topics.items()}
    assert counts == {'/drivable_area': ('nav_msgs/msg/OccupancyGrid', 2)}


def test_a_run_without_frames_is_a_bag(tmp_path: Path):
    write_run(tmp_path, OPTIONS, [])
    assert not any(read(tmp_path).values())


def test_markers_last_until_the_next(tmp_path: Path):
    frames = made_up_frames(19)
    write_run(tmp_path, OutputOptions(('detections',), 'mcap'), [frames[1], *frames[8:19:10]])
    lifetimes = []
    for _, message in read(tmp_path)['/detection_markers']:
        lifetimes += [marker.lifetime for marker in message.markers[1:2]]
    # Gaps: unknown, 0.7 s.
    assert [each.sec + each.nanosec / 1e9 for each in lifetimes] == pytest.approx([1.0, 2.1])


def test_area_without_road_has_the_last_height(tmp_path: Path):
    result = made_up_frames(1)[0].result
    heights = [None, -1.5, None]
    frames = [frame_of(with_ground(result, height), i) for i, height in enumerate(heights)]
    write_run(tmp_path, OutputOptions(('drivable',), 'mcap'), frames)
    areas = [message for _, message in read(tmp_path)['/drivable_area']]
    assert [area.info.origin.position.z for area in areas] == [0.0, -1.5, -1.5]


def test_a_file_that_is_not_closed_does_not_appear(tmp_path: Path):
    (writer,) = make_writers(OPTIONS, tmp_path, 'street', 1)
    writer.add(made_up_frames(1)[0])
    assert not (tmp_path / 'messages/street/part-00001.mcap').exists()


def test_vision_msgs_are_serialized():
    store = message_file.message_types()
    kind = message_file.TOPICS['detections']['/detections']
    types = store.types
    header = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=1, nanosec=2), frame_id='lidar'
    )
    data = store.serialize_cdr(types[kind](header=header, detections=[]), kind)
    assert store.deserialize_cdr(data, kind).header == header  # type: ignore[attr-defined]
