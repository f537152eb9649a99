# SPDX-License-Identifier: Apache-2.0
"""Detected objects as visualization_msgs/MarkerArray, for RViz."""

from __future__ import annotations

from builtin_interfaces.msg import Duration
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from tiny_bev_ros.class_colours import CLASS_COLOURS
from tiny_bev_ros.messages.tensor_labels import TensorLabels
from tiny_bev_ros.messages.vision_detections import header_of, pose_of, size_of
from tiny_bev_ros.models.heads.detection import CLASSES, Detections

_BOX_OPACITY = 0.45


def encode_markers(found: Detections, labels: TensorLabels, lifetime_s: float) -> MarkerArray:
    """A box and an arrow along its heading for each object, after one that deletes the last.

    They vanish by themselves when nothing newer comes within lifetime_s.
    """
    header = header_of(labels)
    markers = encode_no_markers(labels).markers
    lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
    rows = zip(found.boxes.tolist(), found.labels.tolist(), strict=True)
    for number, (box, label) in enumerate(rows):
        name = CLASSES[label]
        red, green, blue = CLASS_COLOURS[name]
        both = {
            'header': header,
            'id': number,
            'action': Marker.ADD,
            'pose': pose_of(box),
            'lifetime': lifetime,
        }
        markers.append(
            Marker(
                ns=name,
                type=Marker.CUBE,
                scale=size_of(box),
                color=ColorRGBA(r=red, g=green, b=blue, a=_BOX_OPACITY),
                **both,
            )
        )
        arrow = Marker(ns=f'{name} heading', type=Marker.ARROW, **both)
        arrow.scale.x, arrow.scale.y, arrow.scale.z = box[3] * 0.75, 0.12, 0.12
        arrow.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        markers.append(arrow)
    return MarkerArray(markers=markers)


def encode_no_markers(labels: TensorLabels) -> MarkerArray:
    """Deletes all that was shown."""
    return MarkerArray(markers=[Marker(header=header_of(labels), action=Marker.DELETEALL)])
