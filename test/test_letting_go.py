# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tiny_bev_ros.transport import letting_go
from tiny_bev_ros.transport.letting_go import when_let_go


def test_it_waits_until_it_is_possible():
    refusals = [RuntimeError('in use')] * 3

    def create() -> str:
        if refusals:
            raise refusals.pop()
        return 'endpoint'

    assert when_let_go(create) == 'endpoint'


def test_it_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(letting_go, '_LETTING_GO_S', 0.1)

    def create() -> None:
        raise RuntimeError('in use')

    with pytest.raises(RuntimeError, match='in use'):
        when_let_go(create)
