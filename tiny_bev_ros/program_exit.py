# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""End of a program after an error of its user or an interrupt."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from tiny_bev_ros.errors import TinyBevError


def reports_errors(
    name: str, *others: type[Exception]
) -> Callable[[Callable[[], int]], Callable[[], int]]:
    """Decorates the `main` of a program: an error becomes one line on stderr and exit code 1.

    An interrupt becomes exit code 130, without a line.

    Args:
        name: name of the executable, with which the line begins.
        others: errors that are reported beside TinyBevError.
    """
    reported: tuple[type[Exception], ...] = (TinyBevError, *others)

    def decorate(main: Callable[[], int]) -> Callable[[], int]:
        @functools.wraps(main)
        def reporting() -> int:
            try:
                return main()
            except reported as error:
                print(f'{name}: {error}', file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                return 130

        return reporting

    return decorate
