# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Messages of detections and drivable areas."""

from __future__ import annotations

import math
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float32MultiArray
from visualization_msgs.msg import Marker

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.messages.detections import (
    decode_detection_boxes,
    encode_detection_boxes,
    encode_detections,
    encode_markers,
    vision_msgs,
)
from tiny_bev_ros.messages.occupancy import encode_drivable
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.optional_imports import import_optional

LABELS = TensorLabels((12, 345), 'top lidar', Axis(-10.0, 0.5), Axis(2.0, 0.5))
FOUND = Detections(
    torch.tensor([[10, 2, -0.9, 4.2, 1.7, 1.5, 0.4], [15, -5, -0.8, 0.6, 0.5, 1.75, -2.5]]),
    torch.tensor([0.9, 0.4]),
    torch.tensor([0, 1]),
)
NONE = Detections(torch.empty(0, 7), torch.empty(0), torch.empty(0, dtype=torch.long))


def serialized(message):
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize('found', [FOUND, NONE], ids=['two', 'none'])
def test_a_list_of_objects_comes_back(found):
    decoded = decode_detection_boxes(serialized(encode_detection_boxes(found, LABELS)))
    np.testing.assert_array_equal(decoded.boxes, found.boxes.numpy())
    np.testing.assert_array_equal(decoded.scores, found.scores.numpy())
    assert decoded.names == ['vehicle', 'pedestrian'][: len(found.boxes)]
    assert (decoded.labels.stamp, decoded.labels.frame_id) == ((12, 345), 'top lidar')


def test_labels_of_a_list():
    message = encode_detection_boxes(FOUND, LABELS)
    assert [dim.label for dim in message.layout.dim] == [
        'object;stamp=12.000000345;frame_id=top%20lidar;classes=vehicle,pedestrian,cyclist',
        'channel',
    ]
    assert [(dim.size, dim.stride) for dim in message.layout.dim] == [(2, 18), (9, 9)]


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (lambda m: setattr(m.layout.dim[0], 'label', 'object'), 'without classes'),
        (
            lambda m: setattr(m.layout.dim[0], 'label', 'batch'),
            r"\['batch', 'channel'\]; expected",
        ),
        (lambda m: setattr(m.layout.dim[1], 'size', 8), 'expected 9: x, y, z'),
        (lambda m: m.data.__setitem__(3, math.nan), 'NaN or Inf'),
        (lambda m: m.data.__setitem__(8, 3.0), 'expected one of vehicle, pedestrian, cyclist'),
        (lambda m: m.data.__setitem__(8, 0.5), 'expected one of'),
        (lambda m: m.data.pop(), '17 elements'),
        (lambda m: m.layout.dim.pop(), 'layout.dim has 1 entries; expected 2'),
    ],
)
def test_wrong_lists_are_refused(change, error):
    message = encode_detection_boxes(FOUND, LABELS)
    change(message)
    with pytest.raises(TinyBevError, match=error):
        decode_detection_boxes(message)


def test_no_message_of_boxes_that_are_not_finite():
    boxes = FOUND.boxes.clone()
    boxes[0, 3] = math.inf
    with pytest.raises(TinyBevError, match='NaN or Inf'):
        encode_detection_boxes(FOUND._replace(boxes=boxes), LABELS)


def test_a_list_is_no_tensor():
    from tiny_bev_ros.messages.tensor import decode_tensor

    with pytest.raises(TinyBevError, match='expected'):
        decode_tensor(encode_detection_boxes(FOUND, LABELS))
    assert isinstance(encode_detection_boxes(FOUND, LABELS), Float32MultiArray)


def test_markers_for_rviz():
    message = serialized(encode_markers(FOUND, LABELS, 1.25))
    kinds = [(each.action, each.type, each.ns) for each in message.markers[1:]]
    assert message.markers[0].action == Marker.DELETEALL
    assert kinds == [
        (Marker.ADD, Marker.CUBE, 'vehicle'),
        (Marker.ADD, Marker.ARROW, 'vehicle heading'),
        (Marker.ADD, Marker.CUBE, 'pedestrian'),
        (Marker.ADD, Marker.ARROW, 'pedestrian heading'),
    ]
    box = message.markers[1]
    assert (box.header.frame_id, box.header.stamp.sec, box.header.stamp.nanosec) == (
        'top lidar',
        12,
        345,
    )
    assert [box.scale.x, box.scale.y, box.scale.z] == pytest.approx([4.2, 1.7, 1.5])
    assert box.pose.position.x == 10
    assert 2 * math.atan2(box.pose.orientation.z, box.pose.orientation.w) == pytest.approx(0.4)
    assert len({(each.ns, each.id) for each in message.markers[1:]}) == 4
    lifetimes = {(each.lifetime.sec, each.lifetime.nanosec) for each in message.markers[1:]}
    assert lifetimes == {(1, 250_000_000)}
    assert len(encode_markers(NONE, LABELS, 1.0).markers) == 1


def test_drivable_area_lies_as_the_map():
    drivable = np.zeros((4, 6), np.float32)
    drivable[1, 5] = 1.0
    drivable[0, 0] = 0.254
    message = serialized(encode_drivable(drivable, LABELS, -1.73))
    assert (message.info.width, message.info.height) == (6, 4)
    assert message.info.resolution == 0.5
    assert (message.info.origin.position.x, message.info.origin.position.y) == (2.0, -10.0)
    assert message.info.origin.position.z == -1.73
    assert message.info.origin.orientation.w == 1
    # Row-major from the lower corner, x along the width: nav_msgs/OccupancyGrid.
    values = np.array(message.data).reshape(4, 6)
    assert values[1, 5] == 0
    assert values[0, 0] == 75
    assert (values.ravel()[np.r_[1:11, 12:24]] == 100).all()
    assert message.header.frame_id == 'top lidar'


def test_unobserved_cells_of_the_drivable_area():
    known = np.ones((4, 6), bool)
    known[1, 2:4] = False
    message = serialized(encode_drivable(np.full((4, 6), 0.75, np.float32), LABELS, 0.0, known))
    expected = np.full((4, 6), 25)
    expected[1, 2:4] = -1
    np.testing.assert_array_equal(np.array(message.data).reshape(4, 6), expected)


@pytest.mark.parametrize(
    'labels', [TensorLabels(), TensorLabels(y_axis=Axis(0, 0.5), x_axis=Axis(0, 0.4))]
)
def test_no_area_without_a_metric_grid(labels):
    with pytest.raises(TinyBevError, match='expected both, with cells that are square'):
        encode_drivable(np.zeros((2, 2), np.float32), labels, 0.0)


class _Message:
    """Stand-in for a message class of vision_msgs, with the fields of its definition."""

    fields: ClassVar[dict] = {}

    def __init__(self, **values):
        for name, make in self.fields.items():
            setattr(self, name, values.pop(name) if name in values else make())
        assert not values, f'no such field: {values}'


def _kind(name, **fields):
    return type(name, (_Message,), {'fields': fields})


@pytest.fixture
def stand_in(monkeypatch):
    """Stand-ins for the used messages of vision_msgs 4, with the fields of their .msg files."""
    from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
    from std_msgs.msg import Header

    hypothesis = _kind('ObjectHypothesis', class_id=str, score=float)
    with_pose = _kind('ObjectHypothesisWithPose', hypothesis=hypothesis, pose=PoseWithCovariance)
    bounds = _kind('BoundingBox3D', center=Pose, size=Vector3)
    detection = _kind('Detection3D', header=Header, results=list, bbox=bounds, id=str)
    array = _kind('Detection3DArray', header=Header, detections=list)
    module = types.ModuleType('vision_msgs.msg')
    for each in (hypothesis, with_pose, bounds, detection, array):
        setattr(module, each.__name__, each)
    monkeypatch.setitem(sys.modules, 'vision_msgs', types.ModuleType('vision_msgs'))
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', module)
    import_optional.cache_clear()
    yield
    import_optional.cache_clear()


def check_detections(message):
    assert message.header.frame_id == 'top lidar'
    first, second = message.detections
    assert first.results[0].hypothesis.class_id == 'vehicle'
    assert first.results[0].hypothesis.score == pytest.approx(0.9)
    assert first.results[0].pose.pose.position.x == 10
    assert [first.bbox.size.x, first.bbox.size.y, first.bbox.size.z] == pytest.approx(
        [4.2, 1.7, 1.5]
    )
    assert first.bbox.center.position.z == pytest.approx(-0.9)
    assert first.header.stamp.nanosec == 345
    assert second.results[0].hypothesis.class_id == 'pedestrian'


@pytest.mark.usefixtures('stand_in')
def test_detections_as_vision_msgs_would_have_them():
    check_detections(encode_detections(FOUND, LABELS))


def test_detections_of_vision_msgs_itself():
    pytest.importorskip('vision_msgs')
    check_detections(serialized(encode_detections(FOUND, LABELS)))


def test_without_vision_msgs_there_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', None)
    import_optional.cache_clear()
    assert vision_msgs() is None
    import_optional.cache_clear()
