# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the engine on the CPU, compiled by numba.

Rows are the values of one site each; row 0 is all zeros and stands for every site that is not
active. A row is as long as a multiple of rows.WIDTH, filled up with zeros. Maps of row numbers
have a border of one cell, so that neighbours need no bounds check.
"""
