# SPDX-License-Identifier: Apache-2.0
"""What a node does about what its executor raises."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.exceptions import InvalidHandle

from tiny_bev_ros.nodes import executables


class Executor:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def spin_once(self, timeout_sec: float) -> None:
        raise self._error


class Logger:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.debugged: list[str] = []
        self.told: list[str] = []
        self.noticed: list[Exception] = []
        self.values = {'autostart': True}

    def start(self) -> None:
        self.told.append('started')

    def get_logger(self) -> Any:
        return self

    def notice(self, error: Exception) -> None:
        self.noticed.append(error)

    def debug(self, text: str) -> None:
        self.debugged.append(text)

    def info(self, text: str) -> None:
        self.told.append(text)

    def error(self, text: str) -> None:
        self.errors.append(text)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Logger:
    monkeypatch.setattr(executables, '_WAKE_S', 0.0)
    return Logger()


def test_what_a_callback_raises_is_logged_and_the_node_goes_on(node: Logger):
    bug = ValueError('a bug')
    executables._spin_once(Executor(bug), node)
    assert node.noticed == [bug]
    (error,) = node.errors
    assert error.startswith('Traceback')
    assert error.endswith('ValueError: a bug')


def test_a_subscription_that_is_gone_is_no_error(node: Logger):
    """It may be let go of by one thread while another looks for what is due."""
    executables._spin_once(Executor(InvalidHandle('destruction was requested')), node)
    assert not node.errors
    assert node.debugged == ['destruction was requested']


def test_a_node_that_does_not_start_by_itself_says_so(node: Logger):
    executables._begin(node)
    node.values['autostart'] = False
    executables._begin(node)
    assert node.told == [
        'started',
        'unconfigured, as autostart is false: waiting for configure',
    ]
