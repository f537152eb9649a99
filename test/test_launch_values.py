# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Launch arguments as text: accepted forms, and one clear error for any other."""

from __future__ import annotations

import pytest

from tiny_bev_ros import launch_values
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.launch_values import camera_topics


@pytest.mark.parametrize(
    ('words', 'value'),
    [
        ('true True TRUE yes Yes on ON 1', True),
        ('false False FALSE no No off OFF 0', False),
    ],
)
def test_truth_values_of_launch_and_of_yaml(words: str, value: bool):
    for word in [*words.split(), f' {words.split(maxsplit=1)[0]} ']:
        assert launch_values.truth('composed', word) is value
    assert launch_values.truth('composed', '') is None


@pytest.mark.parametrize(
    ('reader', 'good'),
    [
        ('number', ['1', '1.0', '0.5', '1e1']),
        ('log_level', ['info', 'INFO', 'Warn', 'pipeline_node:=debug']),
        ('namespace', ['', 'car', '/car', 'a/b']),
        ('topic', ['', 'points', '/lidar/points', '~/points', '~', 'a/b', 'x_1']),
        ('camera_list', ['', 'front', 'front,rig/left']),
    ],
)
def test_good_values_are_kept(reader: str, good: list[str]):
    for text in good:
        value = getattr(launch_values, reader)('x', text)
        assert (','.join(value) if isinstance(value, list) else value) == text


@pytest.mark.parametrize(
    ('reader', 'text', 'expected'),
    [
        ('truth', 'maybe', 'true or false'),
        ('truth', '2', 'true or false'),
        ('number', 'fast', 'a number above 0'),
        ('number', '', 'a number above 0'),
        ('number', '-1', 'a number above 0'),
        ('number', 'nan', 'a number above 0'),
        ('log_level', 'loud', 'one of debug, info, warn, error, fatal'),
        ('log_level', '', 'one of debug, info, warn, error, fatal'),
        ('namespace', '//car', 'a name of ROS: '),
        ('namespace', 'my car', 'a name of ROS: '),
        ('namespace', '~', 'a name of ROS: '),
        ('topic', 'points/', 'a name of ROS: topic name must not end with'),
        ('topic', 'a//b', 'a name of ROS: '),
        ('topic', '//points', 'a name of ROS: '),
        ('topic', 'my points', 'a name of ROS: '),
        ('topic', 'point-cloud', 'a name of ROS: '),
        ('topic', '1st', 'a name of ROS: '),
        ('topic', '/', 'a name of ROS: '),
        ('topic', 'a~b', 'a name of ROS: '),
        ('camera_list', 'front,front', 'names such as front,rig/left'),
        ('camera_list', 'front,', 'names such as front,rig/left'),
        ('camera_list', '/front', 'names such as front,rig/left'),
    ],
)
def test_a_wrong_value_is_one_line(reader: str, text: str, expected: str):
    with pytest.raises(TinyBevError) as raised:
        getattr(launch_values, reader)('argument', text)
    message = str(raised.value)
    assert message.startswith(f'argument is {text!r}; expected {expected}')
    assert '\n' not in message


def test_topics_of_cameras():
    def topics(text: str, *cameras: str) -> dict[str, str]:
        return camera_topics('image_topic', text, 'image', list(cameras))

    assert topics('image_raw', 'a', 'b/c') == {
        'a/image': 'a/image_raw',
        'b/c/image': 'b/c/image_raw',
    }
    assert topics('/eye/image', 'a') == {'a/image': '/eye/image'}
    assert topics('~/image', 'a') == {'a/image': '~/image'}
    assert topics('', 'a') == topics('image_raw', '') == {}
    for text in ('/eye/image', '~/image'):
        with pytest.raises(TinyBevError, match='relative to each of the 2 cameras'):
            topics(text, 'a', 'b')
    with pytest.raises(TinyBevError, match='must not end with'):
        topics('image_raw/', 'a')
