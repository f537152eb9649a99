# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Error class of the package, and the text of other errors in one line."""


class TinyBevError(ValueError):
    """Wrong input of a user or of another node.

    The message is one line that names the field, its value and the value that was expected, so
    that it can be logged as it is. Any other exception is a bug of this package.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; the name of its type if that is empty."""
    return str(error).strip().partition('\n')[0] or type(error).__name__
