# SPDX-License-Identifier: Apache-2.0
"""Length of the rows of kernels, known without numba, which compiles them."""

# Values of float32 that kernels take at once.
WIDTH = 16


def padded(channels: int) -> int:
    """Length of a row that holds so many channels."""
    return -(-channels // WIDTH) * WIDTH
