# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of nodes and of tensor messages between processes."""
