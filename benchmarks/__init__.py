# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the package against its peers; run by `make bench`, not installed."""
