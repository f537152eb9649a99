# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Entry points: errors of the executor, help and arguments."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.exceptions import InvalidHandle

from tiny_bev_ros.nodes import main
from tiny_bev_ros.nodes.parameters import NODES
from tiny_bev_ros.resources import config_file


class Executor:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def spin_once(self, timeout_sec: float) -> None:
        raise self._error


class Logger:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.debugged: list[str] = []
        self.infos: list[str] = []
        self.handled: list[Exception] = []
        self.values = {'autostart': True}

    def start(self) -> None:
        self.infos.append('started')

    def get_logger(self) -> Any:
        return self

    def handle_error(self, error: Exception) -> None:
        self.handled.append(error)

    def debug(self, text: str) -> None:
        self.debugged.append(text)

    def info(self, text: str) -> None:
        self.infos.append(text)

    def error(self, text: str) -> None:
        self.errors.append(text)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Logger:
    monkeypatch.setattr(main, '_WAKE_S', 0.0)
    return Logger()


def test_an_error_of_a_callback_is_logged_and_the_node_goes_on(node: Logger):
    bug = ValueError('a bug')
    main._spin_once(Executor(bug), node)
    assert node.handled == [bug]
    (error,) = node.errors
    assert error.startswith('Traceback')
    assert error.endswith('ValueError: a bug')


def test_a_subscription_that_is_gone_is_no_error(node: Logger):
    """A thread may destroy a subscription while another thread collects due callbacks."""
    main._spin_once(Executor(InvalidHandle('destruction was requested')), node)
    assert not node.errors
    assert node.debugged == ['destruction was requested']


def test_a_node_without_autostart_logs_that(node: Logger):
    main._start(node)
    node.values['autostart'] = False
    main._start(node)
    assert node.infos == [
        'started',
        'autostart is false: unconfigured, waiting for a lifecycle manager',
    ]


@pytest.mark.parametrize('name', NODES)
def test_help_lists_topics_and_parameters(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr('sys.argv', [name, '--help', '--ros-args', '-r', '__node:=x'])
    with pytest.raises(SystemExit) as ended:
        getattr(main, name)()
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f'usage: {name} ')
    for parameter in NODES[name]:
        assert f'\n  {parameter.name}: ' in output
        assert parameter.description.split()[0] in output
    assert f'\n  ros2 run tiny_bev_ros {name} --ros-args ' in output
    *lines, path = output.splitlines()
    assert path == f'  {config_file()}'
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize('given', [['--foo'], ['__ns:=/car'], ['--ros-args', '--', 'points']])
def test_arguments_that_are_not_for_ros_are_refused_in_one_line(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr('sys.argv', ['pfn_node', *given])
    assert main.run('pfn_node', 'PfnNode') == 1
    assert capsys.readouterr().err == (
        f'pfn_node: argument is {given[-1]!r}; expected ROS arguments after --ros-args, '
        'or --help\n'
    )
