# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Recorded topics of a bag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from rosbags.interfaces import Connection, ConnectionExtRosbag2

from tiny_bev_ros.bag.recorded_qos import RecordedQos, joined
from tiny_bev_ros.bag.storage_files import BagFiles


@dataclass(frozen=True)
class BagTopic:
    """A recorded topic.

    Attributes:
        name: topic name with a leading slash.
        type: message type such as 'sensor_msgs/msg/PointCloud2'.
        count: number of messages.
        qos: quality of service as recorded.
    """

    name: str
    type: str
    count: int
    qos: RecordedQos


def list_topics(files: BagFiles) -> tuple[dict[str, BagTopic], dict[str, str]]:
    """Returns the readable topics by name, and the reasons by name of the other ones."""
    topics: dict[str, BagTopic] = {}
    unreadable: dict[str, str] = {}
    names = {absolute_name(each.topic) for each in (*files.connections, *files.promised)}
    for name in sorted(names):
        stored = [each for each in files.connections if absolute_name(each.topic) == name]
        promised = [each for each in files.promised if absolute_name(each.topic) == name]
        every = stored + promised
        formats = sorted({_extension(each).serialization_format for each in every})
        # A type without messages does not count.
        types = sorted({each.msgtype for each in every if each.msgcount}) or sorted(
            {each.msgtype for each in every}
        )
        if formats != ['cdr']:
            unreadable[name] = f'serialized as {", ".join(formats)}; expected cdr'
        elif len(types) > 1:
            unreadable[name] = f'of the types {", ".join(types)}; expected one type'
        else:
            profiles = [
                qos for each in promised or stored for qos in _extension(each).offered_qos_profiles
            ]
            count = max(count_messages(stored), count_messages(promised))
            topics[name] = BagTopic(name, types[0], count, joined(profiles))
    return topics, unreadable


def absolute_name(topic: str) -> str:
    """Returns the topic name as bags store it: with a leading slash."""
    return topic if topic.startswith('/') else f'/{topic}'


def count_messages(connections: Iterable[Connection]) -> int:
    """Returns the number of messages that some connections state."""
    return sum(each.msgcount for each in connections)


def _extension(connection: Connection) -> ConnectionExtRosbag2:
    return cast('ConnectionExtRosbag2', connection.ext)
