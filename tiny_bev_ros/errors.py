# SPDX-License-Identifier: Apache-2.0
"""Error class of the package, and the text of other errors in one line."""


class TinyBevError(ValueError):
    """Wrong input of a user or of another node.

    The message is one line that names the field, its value and the value that was expected, so
    that it can be logged as it is. Any other exception is a bug of this package.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; the name of its type if that is empty."""
    return str(error).strip().partition('\n')[0] or type(error).__name__
