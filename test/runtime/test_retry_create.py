# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tiny_bev_ros.runtime.retry_create import retry_create


def test_it_waits_until_it_is_possible():
    refusals = [RuntimeError('in use')] * 3

    def create() -> str:
        if refusals:
            raise refusals.pop()
        return 'endpoint'

    assert retry_create(create) == 'endpoint'


def test_it_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr('tiny_bev_ros.runtime.retry_create._LETTING_GO_S', 0.1)

    def create() -> None:
        raise RuntimeError('in use')

    with pytest.raises(RuntimeError, match='in use'):
        retry_create(create)
