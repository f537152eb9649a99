# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests that topics that cannot be read do not prevent reading the others."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('rosbags')

import sqlite3
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, find_cloud_topic
from tiny_bev_ros.errors import TinyBevError

STORE = get_typestore(Stores.ROS2_JAZZY)
STRING = 'std_msgs/msg/String'
CDR = b'\x00\x01\x00\x00cloud'


def write(path: Path, storage: StoragePlugin, counts: dict[tuple[str, str, str], int]) -> None:
    """Writes a bag from the number of messages by topic, type and serialization."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for number, ((topic, kind, form), count) in enumerate(counts.items()):
            options = (
                {'typestore': STORE}
                if kind in STORE.fielddefs
                else {'msgdef': 'no definition at all {', 'rihs01': 'RIHS01_0'}
            )
            connection = writer.add_connection(topic, kind, serialization_format=form, **options)
            for index in range(count):
                data = CDR if form == 'cdr' else b'{"a": 1}'
                writer.write(connection, 10**18 + 10 * index + number, data)


@pytest.fixture(params=list(StoragePlugin), ids=str)
def storage(request: pytest.FixtureRequest) -> StoragePlugin:
    return request.param


def assert_clouds_are_read(path: Path, why: str, name: str = '/other') -> None:
    with Bag(path) as bag:
        for topic in ('', '/points'):
            assert find_cloud_topic(bag, topic) == '/points'
        assert [message.data for message in bag.messages(['/points'])] == [CDR] * 3
        assert {message.topic for message in bag.messages()} == {'/points'}
        assert list(bag.topics) == ['/points']
        assert bag.unreadable == {name: why}
        for ask in (bag.messages, lambda topics: find_cloud_topic(bag, *topics)):
            with pytest.raises(TinyBevError, match=f'topic {name} of .* is {why}'):
                ask([name])


CLOUDS = {('/points', CLOUD_TYPE, 'cdr'): 3}


def test_a_topic_in_json(tmp_path: Path, storage: StoragePlugin) -> None:
    write(tmp_path / 'bag', storage, {('/other', 'a.Json', 'json'): 2, **CLOUDS})
    assert_clouds_are_read(tmp_path / 'bag', 'serialized as json; expected cdr')
    # Without metadata.yaml the file itself declares the serialization.
    (file,) = (each for each in (tmp_path / 'bag').iterdir() if each.suffix != '.yaml')
    assert_clouds_are_read(file, 'serialized as json; expected cdr')


def test_a_topic_of_two_types(tmp_path: Path, storage: StoragePlugin) -> None:
    others = {('/other', kind, 'cdr'): 1 for kind in (STRING, CLOUD_TYPE)}
    write(tmp_path / 'bag', storage, {**others, **CLOUDS})
    assert_clouds_are_read(
        tmp_path / 'bag', f'of the types {CLOUD_TYPE}, {STRING}; expected one type'
    )


def test_a_type_without_messages_does_not_count(tmp_path: Path, storage: StoragePlugin) -> None:
    write(tmp_path / 'bag', storage, {('/points', STRING, 'cdr'): 0, **CLOUDS})
    with Bag(tmp_path / 'bag') as bag:
        assert find_cloud_topic(bag, '/points') == '/points'
        assert [message.data for message in bag.messages(['/points'])] == [CDR] * 3


def test_an_unknown_type_without_definition(tmp_path: Path, storage: StoragePlugin) -> None:
    write(tmp_path / 'bag', storage, {('/other', 'my/msg/Own', 'cdr'): 2, **CLOUDS})
    with Bag(tmp_path / 'bag') as bag:
        assert bag.topics['/other'].type == 'my/msg/Own'
        assert len(list(bag.messages())) == 5


def test_definitions_in_an_unknown_language(tmp_path: Path, storage: StoragePlugin) -> None:
    """Recorders write these for types that are not installed, as do other systems."""
    write(tmp_path / 'bag', storage, CLOUDS)
    (file,) = (each for each in (tmp_path / 'bag').iterdir() if each.suffix != '.yaml')
    if storage == StoragePlugin.SQLITE3:
        with sqlite3.connect(file) as database:
            database.execute("UPDATE message_definitions SET encoding = 'unknown'")
        database.close()
    else:
        content = file.read_bytes()
        assert b'ros2msg' in content
        file.write_bytes(content.replace(b'ros2msg', b'unknown'))
    for path in (tmp_path / 'bag', file):
        with Bag(path) as bag:
            assert [message.data for message in bag.messages(['/points'])] == [CDR] * 3
