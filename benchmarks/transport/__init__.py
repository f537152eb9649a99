# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of nodes and tensors between processes."""
