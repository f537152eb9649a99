# SPDX-License-Identifier: Apache-2.0
"""Making an endpoint of another type in the place of one that was destroyed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Endpoint = TypeVar('_Endpoint')
_LETTING_GO_S = 1.0


def retry_create(create: Callable[[], _Endpoint]) -> _Endpoint:
    """What ``create`` makes, once the middleware lets it.

    Fast DDS allows one type per topic and participant, and an executor that waits in another
    thread lets go of a destroyed endpoint a moment later.

    Raises:
        Exception: what ``create`` raises after a second.
    """
    end = time.monotonic() + _LETTING_GO_S
    while True:
        try:
            return create()
        except Exception:  # of the middleware, of several kinds
            if time.monotonic() >= end:
                raise
            time.sleep(_LETTING_GO_S / 100)
