# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the package beside its peers; run by make bench, not installed."""
