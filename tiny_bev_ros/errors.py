# SPDX-License-Identifier: Apache-2.0
"""The one error class of the package."""


class TinyBevError(ValueError):
    """Wrong input of a user or of another node.

    The message is one line that names the field, its value and the value that was expected, so
    that it can be logged as it is. Any other exception is a bug of this package.
    """
