# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of inference within one process."""
