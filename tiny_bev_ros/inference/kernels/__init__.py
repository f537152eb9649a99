# SPDX-License-Identifier: Apache-2.0
"""Inner loops of inference on the CPU, compiled by numba.

A row holds the values of one site; row 0 is all zeros and represents every inactive site. Rows are
padded with zeros to a multiple of `row_padding.WIDTH`. An index map holds the row
of each cell, 0 where it is inactive, and has a border of one cell, so that neighbours need no
bounds check. Ranges go from `begin` to `end`, which is excluded.
"""
