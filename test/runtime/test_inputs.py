# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.runtime.inputs import Inputs


class Recorder:
    def __init__(self, name: str, ended: list[str], reason: str = '') -> None:
        self._name, self._ended, self._reason = name, ended, reason

    def destroy(self) -> None:
        self._ended.append(self._name)
        if self._reason:
            raise TinyBevError(self._reason)


def test_all_end_in_order_even_where_one_does_not_end_well():
    ended: list[str] = []
    inputs = Inputs([Recorder('a', ended), Recorder('b', ended, 'b hangs'), Recorder('c', ended)])
    with pytest.raises(TinyBevError, match='b hangs'):
        inputs.destroy()
    assert ended == ['a', 'b', 'c']
