# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of inference in one process."""
