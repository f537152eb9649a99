# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Messages of a run, as the nodes would publish them, in one mcap file."""

from __future__ import annotations

import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from tiny_bev_ros.bag.reader import WRITTEN_QOS
from tiny_bev_ros.extraction.run_rows import required_detections, required_drivable
from tiny_bev_ros.messages.detections import (
    encode_detection_boxes,
    encode_detections,
    encode_markers,
    marker_lifetime_s,
    vision_msgs,
)
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.tensor import TensorLabels, encode_tensor

if TYPE_CHECKING:
    from tiny_bev_ros.extraction.frame_outputs import ExtractedFrame, OutputOptions

# Message type of each topic, by output.
TOPICS = {
    'features': {'/bev_features': 'std_msgs/msg/UInt8MultiArray'},
    'detections': {
        '/detection_boxes': 'std_msgs/msg/Float32MultiArray',
        '/detection_markers': 'visualization_msgs/msg/MarkerArray',
        '/detections': 'vision_msgs/msg/Detection3DArray',
    },
    'drivable': {'/drivable_area': 'nav_msgs/msg/OccupancyGrid'},
}
# Definitions of vision_msgs 4, which rosbags lacks.
_VISION_MSGS = {
    'ObjectHypothesis': 'string class_id\nfloat64 score\n',
    'ObjectHypothesisWithPose': (
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n'
    ),
    'BoundingBox3D': 'geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n',
    'Detection3D': (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox3D bbox\nstring id\n'
    ),
    'Detection3DArray': 'std_msgs/Header header\nvision_msgs/Detection3D[] detections\n',
}


class MessageFile:
    """File of messages with the stamps of the clouds, at the clouds' times of recording.

    The first frame has markers of the shortest lifetime. The drivable area has height 0 until the
    first road is found. A node begins so, too.

    Args:
        options: outputs that are written.
        path: path of the file; it appears when it is complete.
    """

    def __init__(self, options: OutputOptions, path: Path) -> None:
        self._options, self._path = options, path
        self._height = 0.0
        self._last_ns: int | None = None
        self._tensor: Any = None
        self._store = message_types()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rosbags writes a folder; its metadata name the file by the name of the folder.
        self._folder = path.with_name(f'.{path.name}') / path.stem
        self._writer = Writer(self._folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections = dict(self._connect())

    def add(self, frame: ExtractedFrame) -> None:
        """Adds a frame, see `RunWriter`."""
        messages = [
            (self._connections[topic], self._serialize(topic, message))
            for topic, message in self._messages(frame)
        ]
        for connection, data in messages:
            self._writer.write(connection, frame.time_ns, data)
        self._last_ns = frame.stamp_ns

    def close(self) -> None:
        """Completes the file and moves it out of its folder."""
        self._writer.close()
        (self._folder / self._path.name).replace(self._path)
        (self._folder / 'metadata.yaml').unlink()
        self._folder.rmdir()
        self._folder.parent.rmdir()

    def _connect(self) -> Iterator[tuple[str, Connection]]:
        for what, topics in TOPICS.items():
            for topic, kind in topics.items():
                if what in self._options.what and (
                    topic != '/detections' or vision_msgs() is not None
                ):
                    yield (
                        topic,
                        self._writer.add_connection(
                            topic, kind, typestore=self._store, offered_qos_profiles=[WRITTEN_QOS]
                        ),
                    )

    def _serialize(self, topic: str, message: Any) -> memoryview:
        return self._store.serialize_cdr(_as_numpy(message), self._connections[topic].msgtype)

    def _messages(self, frame: ExtractedFrame) -> Iterator[tuple[str, Any]]:
        result, what = frame.result, self._options.what
        labels = TensorLabels(frame.stamp, frame.frame_id, result.grid.y_axis, result.grid.x_axis)
        if 'features' in what:
            cropped = self._options.roi.crop(result.features, labels)
            self._tensor = encode_tensor(*cropped, 'float16', self._tensor)
            yield '/bev_features', self._tensor
        if 'detections' in what:
            detections = required_detections(result)
            yield '/detection_boxes', encode_detection_boxes(detections, labels)
            yield '/detection_markers', encode_markers(detections, labels, self._lifetime_s(frame))
            if '/detections' in self._connections:
                yield '/detections', encode_detections(detections, labels)
        if 'drivable' in what:
            drivable = required_drivable(result)
            if result.road_height is not None:
                self._height = result.road_height
            yield (
                '/drivable_area',
                encode_drivable(drivable, labels, self._height, result.observed),
            )

    def _lifetime_s(self, frame: ExtractedFrame) -> float:
        last_ns = frame.stamp_ns if self._last_ns is None else self._last_ns
        return marker_lifetime_s((frame.stamp_ns - last_ns) / 1e9)


def message_types() -> Typestore:
    """Returns the types of all messages, including those of vision_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, definition in _VISION_MSGS.items():
        store.register(get_types_from_msg(definition, f'vision_msgs/msg/{name}'))
    return store


class _NumpyView:
    """View of a ROS message with NumPy arrays in place of all others, as rosbags needs them."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        return _as_numpy(getattr(self._message, name))


def _as_numpy(value: Any) -> Any:
    if isinstance(value, array.array):
        return np.asarray(value)
    if isinstance(value, list):
        return [_as_numpy(each) for each in value]
    return _NumpyView(value) if hasattr(value, 'get_fields_and_field_types') else value
