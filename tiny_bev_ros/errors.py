# SPDX-License-Identifier: Apache-2.0
"""The one error class of the package."""


class TinyBevError(ValueError):
    """Something a user or another node gave us is wrong.

    The message is one line that names the field, its value and what was expected, so
    that it can be logged as it is. Anything else that is raised is a bug of ours.
    """
