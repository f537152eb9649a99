# SPDX-License-Identifier: Apache-2.0
"""Row length of the numba kernels; needs no numba."""

# SIMD width of the kernels, in float32 values.
WIDTH = 16


def padded(channels: int) -> int:
    """Returns the number of channels rounded up to a multiple of WIDTH."""
    return -(-channels // WIDTH) * WIDTH
