# SPDX-License-Identifier: Apache-2.0
"""Sparse path: convolutions at active sites alone, with the result of the dense network."""
